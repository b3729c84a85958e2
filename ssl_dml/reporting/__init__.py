"""What a run reports to its user: metrics, progress, images and a summary."""

from ssl_dml.reporting.images import contact_sheet, views_image
from ssl_dml.reporting.projector import projector_rows, show_embeddings
from ssl_dml.reporting.summary import (
    explain_non_finite,
    finetune_summary,
    read_records,
    summary,
)
from ssl_dml.reporting.trackers import (
    check_trackers,
    finish,
    record_probe,
    show_first,
    start_trackers,
)

__all__ = [
    "check_trackers",
    "contact_sheet",
    "explain_non_finite",
    "finetune_summary",
    "finish",
    "projector_rows",
    "read_records",
    "record_probe",
    "show_embeddings",
    "show_first",
    "start_trackers",
    "summary",
    "views_image",
]
