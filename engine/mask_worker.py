"""Fills a step's masks beside the step: from its beginning, until its sampler needs them."""

from __future__ import annotations

import logging
import threading
import time
from queue import SimpleQueue

from ftllm.engine.matcher import MaskFiller
from ftllm.engine.plan import StepPlan
from ftllm.engine.step_log import StepLog

logger = logging.getLogger(__name__)


class MaskWorker:
    """One thread. It starts with the first plan that needs masks."""

    def __init__(self, filler: MaskFiller, log: StepLog) -> None:
        self._filler = filler
        self._log = log
        self._plans: SimpleQueue[StepPlan | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def begin(self, plan: StepPlan) -> None:
        """Fill the masks of `plan`, and publish them whatever happens: the step waits for them. A
        row that could not be filled allows nothing. Call it on one thread."""
        if plan.masks is None:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="masks", daemon=True)
            self._thread.start()
        self._plans.put(plan)

    def close(self) -> None:
        """Ends the thread, after what was begun. Idempotent."""
        self._plans.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while (plan := self._plans.get()) is not None:
            assert plan.masks is not None
            started = time.monotonic()
            try:
                self._filler.fill(plan.mask_requests, plan.masks)
            except Exception:
                logger.exception("Masks of a step failed; its constrained requests end.")
            finally:
                plan.masks.publish()
                self._log.add_masks(time.monotonic() - started)
