"""What a run reports to its user: metrics, progress, images and a summary."""

from ssl_dml.reporting.images import contact_sheet, views_image
from ssl_dml.reporting.summary import (
    explain_non_finite,
    finetune_summary,
    read_records,
    summary,
)
from ssl_dml.reporting.trackers import finish, record_probe, show_first, start_trackers

__all__ = [
    "contact_sheet",
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
