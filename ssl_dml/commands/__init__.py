"""Commands of ``ssl_dml``: the configuration of each, and its assembly from top to bottom."""
