"""What a run leaves for people to read."""

from ssl_dml.reporting.images import views_image
from ssl_dml.reporting.trackers import (
    explain_non_finite,
    finetune_summary,
    finish,
    read_records,
    record_probe,
    show_first,
    start_trackers,
    summary,
)

__all__ = [
    "explain_non_finite",
    "finetune_summary",
    "finish",
    "read_records",
    "record_probe",
    "show_first",
    "start_trackers",
    "summary",
    "views_image",
]
