import json

import torch

from ssl_dml.reporting.environment import environment


def test_versions_and_machine_are_named():
    found = environment(processes=3)
    assert found["torch"] == torch.__version__.partition("+")[0] or found["torch"]
    assert found["processes"] == 3
    assert {"python", "system", "device", "memory", "cores", "ssl_dml"} <= found.keys()
    assert json.loads(json.dumps(found)) == found
