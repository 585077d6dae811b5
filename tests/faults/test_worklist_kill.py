"""The HTTP gateway is killed while work items are created and claimed: what it acknowledged is there, and goes on."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import httpx
from pydicom.uid import generate_uid

from tests.support.http_gateway import HttpGateway
from tests.support.workitems import WorklistClient, data_set, work_item
from vna.index.resemble import expressions
from vna.store.folder import FolderStore
from vna.workitems.worklist import Worklist

_ROUNDS = 3
_PERFORMERS = 3


class _Performer(threading.Thread):
    """Creates, claims and cancels work items until the connection breaks; notes the last state acknowledged of each."""

    def __init__(self, base: str) -> None:
        super().__init__(daemon=True)
        self._base = base
        self.acknowledged: dict[str, tuple[str, str]] = {}
        self.tried: dict[str, tuple[str, str]] = {}

    def run(self) -> None:
        client = WorklistClient(self._base)
        while True:
            uid, lock = str(generate_uid()), str(generate_uid())
            try:
                self._step(uid, ("SCHEDULED", ""), client.create, work_item(), uid)
                self._step(uid, ("IN PROGRESS", lock), client.state, uid, "IN PROGRESS", lock)
                self._step(uid, ("CANCELED", lock), client.state, uid, "CANCELED", lock)
            except httpx.HTTPError:
                client.close()
                return

    def _step(self, uid: str, state: tuple[str, str], call: object, *given: object) -> None:
        self.tried[uid] = state
        answer = call(*given)  # type: ignore[operator]
        assert answer.status_code in {200, 201}, answer.text
        self.acknowledged[uid] = state


def test_killed_at_random_moments_while_work_items_change(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4))
    moments = random.Random(seed)
    acknowledged: dict[str, tuple[str, str]] = {}
    tried: dict[str, tuple[str, str]] = {}
    for _ in range(_ROUNDS):
        gateway = HttpGateway(tmp_path, develop=False)
        try:
            performers = [_Performer(gateway.base) for _ in range(_PERFORMERS)]
            for performer in performers:
                performer.start()
            time.sleep(moments.uniform(0.2, 1.0))
        finally:
            gateway.process.kill()
            gateway.process.wait()
            gateway.client.close()
            gateway.archive.close()
        for performer in performers:
            performer.join(30)
            assert not performer.is_alive()
            acknowledged |= performer.acknowledged
            tried |= performer.tried
    objects = FolderStore(tmp_path / "objects")
    worklist = Worklist(objects, expressions)
    assert len(acknowledged) > _ROUNDS, f"seed {seed}"
    for uid, state in acknowledged.items():
        item = worklist.get(uid)
        # What was under way when it was killed may be there, too.
        assert (item.state, item.transaction) in {state, tried[uid]}, f"seed {seed}"
    found, total = worklist.search((), 0, len(tried) + 1)
    uids = {each["00080018"]["Value"][0] for each in found}
    assert set(acknowledged) <= uids <= set(tried), f"seed {seed}"
    assert total == len(found)
    # Whoever held one goes on with it, in a process that never saw it before.
    held = next((uid for uid in acknowledged if worklist.get(uid).state == "IN PROGRESS"), "")
    if held:
        end = data_set(ProcedureStepState="CANCELED", TransactionUID=tried[held][1]).to_json_dict()
        assert worklist.change_state(held, end, "test")[0].state == "CANCELED"
    objects.close()
