"""The engine: a thread that runs steps for as long as there is work, and sleeps when there is none.

Other threads leave submits and aborts in its inbox. Everything else — the scheduler, the executor
and the sinks — is touched by the engine's thread alone.
"""

from __future__ import annotations

import logging
import threading
import time
from contextvars import Context, copy_context
from dataclasses import dataclass, field, replace

from ftllm import _core
from ftllm.engine.engine_config import EngineConfig, EngineLimits
from ftllm.engine.mask_worker import MaskWorker
from ftllm.engine.matcher import MaskFiller
from ftllm.engine.plan import Executor, StepPlan
from ftllm.engine.prefix_cache import PrefixCache
from ftllm.engine.readout import Readout
from ftllm.engine.request import Event, FinishedEvent, FinishReason, Request, Sink
from ftllm.engine.request_check import check_ability, check_request
from ftllm.engine.sampling import SamplerFactory, make_sampler
from ftllm.engine.scheduler import Deliveries, Scheduler
from ftllm.engine.sequence import Sequence
from ftllm.engine.speculation import make_drafter
from ftllm.engine.stats import EngineStats, FinishRate
from ftllm.engine.step_log import StepLog, StepTimes
from ftllm.errors import EngineStoppedError, QueueFullError, RequestError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Live:
    """A request from its submit to its terminal event."""

    seq: Sequence
    sink: Sink
    # Of the submit: lines of the log about the request are written in it, so that who submitted can
    # tell whose they are.
    context: Context = field(default_factory=copy_context)


class _Reset:
    """Left in the inbox: empty the prefix cache."""


class Engine:
    """Serves requests with one executor. Every accepted request gets exactly one `FinishedEvent`.

    `sampler_factory` None means `_core.Sampler`; `mask_filler` None that it serves no grammars.
    """

    def __init__(
        self,
        executor: Executor,
        config: EngineConfig,
        *,
        sampler_factory: SamplerFactory | None = None,
        mask_filler: MaskFiller | None = None,
    ) -> None:
        self._executor = executor
        self._config = config
        self._limits = EngineLimits.of(config, executor)
        cached = config.prefix_caching and config.causal  # K/V depend on the prefix alone
        cache = PrefixCache(self._limits.block_size) if cached else None
        self._scheduler = Scheduler(self._limits, cache=cache)
        self._make_sampler = _core.Sampler if sampler_factory is None else sampler_factory
        self._step_log = StepLog()
        self._masks = None if mask_filler is None else MaskWorker(mask_filler, self._step_log)
        self._thread: threading.Thread | None = None
        # Guards the fields below; also signals the engine's thread that something arrived.
        self._wakeup = threading.Condition()
        self._inbox: list[_Live | str | _Reset] = []  # submits, ids to abort …, as they arrived
        self._live: dict[str, _Live] = {}
        self._stopped = ""  # why no more requests are taken
        self._rejected = 0
        self._accepted_tokens = 0  # of all prompts that came
        self._dropped_tokens = 0  # of those that ended without having run
        self._finish_rate = FinishRate()
        self._steps = 0
        self._failed_steps = 0
        self._failed_in_row = 0  # steps; one that succeeds sets it to 0
        self._last_step_at = time.monotonic()

    @property
    def config(self) -> EngineConfig:
        return self._config

    @property
    def kv_tokens(self) -> int:
        """How many tokens the KV cache holds."""
        return self._executor.num_blocks * self._executor.block_size

    def start(self) -> None:
        """Start the thread; requests submitted before wait for it. Starting twice does nothing."""
        with self._wakeup:
            if self._stopped:
                raise EngineStoppedError(self._stopped)
            if self._thread is None:
                self._last_step_at = time.monotonic()
                self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
                self._thread.start()

    def shutdown(self) -> None:
        """Abort what is live, after the step under way, and join the thread. Idempotent."""
        with self._wakeup:
            self._stopped = self._stopped or "The engine has been shut down."
            self._wakeup.notify()
            thread = self._thread
        if thread is None:
            self._end_all(FinishReason.ABORTED, None)
        elif thread is not threading.current_thread():  # a sink may call it too
            thread.join()

    def submit(self, request: Request, sink: Sink) -> None:
        """Accept a request, from any thread; `sink` gets its events on the engine's thread.

        Raises `RequestError`, `ContextLengthError`, `QueueFullError` or `EngineStoppedError`, and
        then nothing was accepted and the sink is never called.
        """
        check_request(request, self._limits, self._config.vocab_size)
        check_ability(request, self._config)
        if request.params.grammar is not None and self._masks is None:
            raise RequestError("This engine serves no grammars.", param="grammar")
        with self._wakeup:
            self._check_room(request)  # before the work of making a sampler
        sampler, drafter = None, None
        if request.pooling is None:
            sampler = make_sampler(self._make_sampler, request)
            drafter = make_drafter(self._config.speculative, request.prompt_ids)
        grammar = request.params.grammar
        matcher = None if grammar is None else grammar.matcher()
        context_len = self._limits.context_len
        live = _Live(Sequence(request, sampler, context_len, drafter, matcher), sink)
        live.seq.submitted_at = time.monotonic()
        with self._wakeup:
            self._check_room(request)
            if not self._live:
                self._last_step_at = time.monotonic()
            self._live[request.request_id] = live
            self._accepted_tokens += len(request.prompt_ids)
            self._inbox.append(live)
            self._wakeup.notify()

    def abort(self, request_id: str) -> None:
        """End a request before the next step, from any thread. An unknown id is fine."""
        with self._wakeup:
            if request_id in self._live:
                self._inbox.append(request_id)
                self._wakeup.notify()

    def abort_all(self) -> int:
        """Abort every request that is live, and tell how many these are. From any thread."""
        with self._wakeup:
            self._inbox += self._live
            self._wakeup.notify()
            return len(self._live)

    def reset_prefix_cache(self) -> None:
        """Requests that are submitted later share no prefix with earlier ones. From any thread."""
        with self._wakeup:
            self._inbox.append(_Reset())
            self._wakeup.notify()

    def take_step_times(self) -> StepTimes:
        """What the steps took since the last call; the oldest are lost when nobody asks for long.
        One thread may call it."""
        return self._step_log.take()

    def stats(self) -> EngineStats:
        """From any thread; numbers that change during the call may be of different steps."""
        scheduler, tables = self._scheduler, self._scheduler.tables
        with self._wakeup:
            live, running = len(self._live), len(scheduler.running)
            alive = self._thread is not None and not self._stopped
            queued_tokens = self._queued_tokens
        return EngineStats(
            alive=alive,
            running=running,
            waiting=max(0, live - running),
            kv_blocks=tables.blocks.num_blocks,
            kv_blocks_used=tables.blocks.used,
            kv_blocks_cached=tables.cached_blocks,
            prefix_queried_tokens=tables.queried_tokens,
            prefix_hit_tokens=tables.hit_tokens,
            preemptions=scheduler.preemptions,
            steps=self._steps,
            failed_steps=self._failed_steps,
            failed_in_row=self._failed_in_row,
            prompt_tokens=scheduler.prompt_tokens,
            generated_tokens=scheduler.generated_tokens,
            drafted_tokens=scheduler.drafted_tokens,
            accepted_tokens=scheduler.accepted_tokens,
            finished_stop=scheduler.finished[FinishReason.STOP],
            finished_length=scheduler.finished[FinishReason.LENGTH],
            finished_aborted=scheduler.finished[FinishReason.ABORTED],
            finished_error=scheduler.finished[FinishReason.ERROR]
            + scheduler.finished[FinishReason.GRAMMAR],
            rejected=self._rejected,
            last_step_at=self._last_step_at,
            max_live=self._max_live,
            finished_expired=scheduler.finished[FinishReason.EXPIRED],
            queued_tokens=queued_tokens,
            max_queue_tokens=self._config.max_queue_tokens,
        )

    def check(self) -> None:
        """Assert the invariants of queues, blocks and prefix cache, and that no block is in use.

        From any thread, while no request is live: the engine's thread then changes none of them.
        """
        with self._wakeup:
            assert not self._live, f"{len(self._live)} requests are live"
            self._scheduler.check()
            assert self._scheduler.tables.blocks.used == 0, "an idle engine holds blocks"
            assert self._queued_tokens == 0, "an idle engine counts tokens that wait"

    @property
    def _max_live(self) -> int:
        return self._limits.max_batch + self._config.max_queue

    @property
    def _queued_tokens(self) -> int:
        """Of prompts that have not run yet. The lock is held."""
        return self._accepted_tokens - self._dropped_tokens - self._scheduler.admitted_tokens

    def _check_room(self, request: Request) -> None:
        """Raise if a request cannot be accepted now. The lock is held."""
        if self._stopped:
            raise EngineStoppedError(self._stopped)
        request_id = request.request_id
        if request_id in self._live:
            raise RequestError(
                f"A request with the id {request_id!r} is being served; ids must be unique.",
                param="request_id",
            )
        if len(self._live) >= self._max_live:
            raise self._full(
                f"{len(self._live)} requests are live, and at most {self._limits.max_batch} can run"
                f" while {self._config.max_queue} wait"
            )
        queued, tokens, most = (
            self._queued_tokens,
            len(request.prompt_ids),
            self._config.max_queue_tokens,
        )
        if queued and queued + tokens > most > 0:  # a prompt that need not wait may be longer
            raise self._full(
                f"prompts of {queued} tokens wait, this one has {tokens}, and at most {most} may"
                " wait together"
            )

    def _full(self, why: str) -> QueueFullError:
        self._rejected += 1
        retry_after = self._finish_rate.retry_after(time.monotonic())
        return QueueFullError(
            f"The server is full: {why}. Try again in {retry_after} s.", retry_after=retry_after
        )

    def _run(self) -> None:
        """The thread. Whatever ends it, every live request gets its terminal event."""
        reason, error = FinishReason.ABORTED, None
        try:
            while self._take_inbox():
                self._step()
        except BaseException as problem:
            logger.exception("The engine stops: its loop failed.")
            reason, error = FinishReason.ERROR, f"The engine failed: {_text(problem)}"
        finally:
            if self._masks is not None:
                self._masks.close()
            self._end_all(reason, error)

    def _take_inbox(self) -> bool:
        """Wait until there is work, and apply what arrived; False when it is time to stop."""
        with self._wakeup:
            while not (self._stopped or self._inbox or self._scheduler.has_work):
                self._wakeup.wait()
            if self._stopped:
                return False
            inbox, self._inbox = self._inbox, []
        for message in inbox:
            if isinstance(message, _Live):
                self._scheduler.add(message.seq)
            elif isinstance(message, _Reset):
                self._scheduler.tables.reset_cache()
            elif (event := self._scheduler.abort(message)) is not None:
                self._deliver({message: [event]})
        return True

    def _step(self) -> None:
        started = time.monotonic()
        self._expire(started)
        plan = self._scheduler.schedule()
        if plan is None:
            return
        events = self._execute(plan)
        self._step_log.add_step(self._last_step_at - started, len(plan.token_ids))
        self._deliver(events)

    def _expire(self, now: float) -> None:
        """Those that waited too long are told when there may be room: when as many requests as
        live have finished."""
        for event in self._scheduler.expire(now):
            with self._wakeup:
                retry_after = self._finish_rate.retry_after(now, places=len(self._live))
            self._deliver({event.request_id: [replace(event, retry_after=retry_after)]})

    def _execute(self, plan: StepPlan) -> Deliveries:
        try:
            if self._masks is not None:
                self._masks.begin(plan)
            readout = Readout(plan, self._executor.step(plan))
        except Exception as problem:
            logger.exception("A step failed; its requests end with an error.")
            self._failed_steps += 1
            self._failed_in_row += 1
            events = self._scheduler.rollback(plan, f"The step failed: {_text(problem)}")
        else:
            events = self._scheduler.commit(plan, readout)
            self._failed_in_row = 0
        self._steps += 1
        self._last_step_at = time.monotonic()
        return events

    def _deliver(self, deliveries: Deliveries) -> None:
        for request_id, events in deliveries.items():
            live = self._live[request_id]
            finished = isinstance(events[-1], FinishedEvent)
            if finished:
                self._forget(request_id)
            try:
                live.sink(events)
            except Exception as problem:
                message = "The sink of request %s raised; the request is aborted."
                live.context.run(logger.error, message, request_id, exc_info=problem)
                if not finished:
                    self._abort_broken(live)

    def _abort_broken(self, live: _Live) -> None:
        """End a request whose sink raised. It is still told, in case it can take that."""
        request_id = live.seq.request.request_id
        event = self._scheduler.abort(request_id)
        self._forget(request_id)
        if event is not None:
            _tell(live, event)

    def _forget(self, request_id: str) -> None:
        """The request is over: its id and its place are free again."""
        with self._wakeup:
            seq = self._live.pop(request_id).seq
            if seq.started_at is None:
                self._dropped_tokens += seq.num_prompt
            else:
                self._finish_rate.add(time.monotonic())

    def _end_all(self, reason: FinishReason, error: str | None) -> None:
        """The last act: no more requests, and a terminal event for each that is live."""
        with self._wakeup:
            self._stopped = self._stopped or error or "The engine has stopped."
            remaining = list(self._live.values())
            self._dropped_tokens += sum(
                live.seq.num_prompt for live in remaining if live.seq.started_at is None
            )
            self._live.clear()
            self._inbox.clear()
        for live in remaining:
            event: FinishedEvent | None = None
            if error is None:  # the scheduler is sound, so its blocks and counters stay right
                event = self._scheduler.abort(live.seq.request.request_id)
            _tell(live, event or live.seq.finished(reason, error))


def _tell(live: _Live, event: Event) -> None:
    try:
        live.sink([event])
    except Exception as problem:
        request_id = live.seq.request.request_id
        live.context.run(logger.debug, "The sink of %s raised.", request_id, exc_info=problem)


def _text(problem: BaseException) -> str:
    return f"{type(problem).__name__}: {problem}"
