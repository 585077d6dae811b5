"""Counters of the DIMSE gateway, kept in this process; the metrics endpoint of the process exports them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from vna.observability import received_bytes, received_total

ASSOCIATIONS = Counter("vna_dimse_associations", "Associations accepted", ["service"])
OPEN = Gauge("vna_dimse_associations_open", "Associations open now", multiprocess_mode="livesum")
REJECTED = Counter("vna_dimse_associations_rejected", "Associations rejected, by reason (PS3.8 table 9-21)", ["reason"])
ABORTED = Counter("vna_dimse_associations_aborted", "Associations that ended otherwise than by release", ["by"])
INSTANCES = received_total.labels("dimse")
BYTES = received_bytes.labels("dimse")
COMMITMENTS = Counter("vna_dimse_commitments", "Requests for storage commitment, by status", ["status"])
REFUSED = Counter("vna_dimse_instances_refused", "C-STORE requests answered with a failure", ["status"])
