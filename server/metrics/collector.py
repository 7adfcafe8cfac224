"""Everything that a scrape reads: the engine's statistics as they are, and what was counted."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from ftllm.engine.stats import EngineStats
from ftllm.server.metrics.families import Families
from ftllm.server.metrics.request_metrics import RequestMetrics
from ftllm.server.model import ServedModel


class ModelCollector(Collector):
    """Names, types, labels and buckets are vLLM V1's where it has the same metric."""

    def __init__(
        self,
        model: ServedModel,
        requests: RequestMetrics,
        *,
        prefix: str,
    ) -> None:
        self._model = model
        self._requests = requests
        self._families = Families(prefix, model.name)

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering asks for no statistics."""
        return ()

    def collect(self) -> Iterable[Metric]:
        self._requests.add_steps(self._model.engine.take_step_times())
        stats = self._model.engine.stats()
        yield from self._load(stats)
        yield from self._counters(stats)
        yield from self._latencies()
        yield from self._sizes()
        yield from self._facts(stats)

    def _load(self, stats: EngineStats) -> Iterable[Metric]:
        make = self._families
        yield make.gauge("num_requests_running", "Requests that the engine runs.", stats.running)
        yield make.gauge("num_requests_waiting", "Requests in the queue.", stats.waiting)
        yield make.gauge("kv_cache_usage_perc", "KV cache in use; 1 is all of it.", stats.kv_usage)

    def _counters(self, stats: EngineStats) -> Iterable[Metric]:
        make, requests = self._families, self._requests
        for name, text, value in (
            ("prompt_tokens", "Prompt tokens, cached ones included.", stats.prompt_tokens),
            ("generation_tokens", "Generated tokens.", stats.generated_tokens),
            (
                "prefix_cache_queries",
                "Prompt tokens that were looked up in the prefix cache.",
                stats.prefix_queried_tokens,
            ),
            (
                "prefix_cache_hits",
                "Prompt tokens that were found in the prefix cache.",
                stats.prefix_hit_tokens,
            ),
            ("num_preemptions", "Requests set back for want of KV blocks.", stats.preemptions),
            ("spec_decode_num_draft_tokens", "Drafted tokens.", stats.drafted_tokens),
            ("spec_decode_num_accepted_tokens", "Drafts that were right.", stats.accepted_tokens),
            ("engine_failed_steps", "Steps that failed with their requests.", stats.failed_steps),
        ):
            yield make.counter(name, text, value)
        for name, text, label, values in (
            ("request_success", "Finished requests.", "finished_reason", requests.finished),
            ("admission_rejections", "Requests turned away.", "reason", requests.rejected),
            (
                "api_key_prompt_tokens",
                "Prompt tokens of finished requests, by the name of their API key.",
                "api_key_name",
                requests.key_prompt_tokens,
            ),
            (
                "api_key_generation_tokens",
                "Generated tokens of finished requests, by the name of their API key.",
                "api_key_name",
                requests.key_generation_tokens,
            ),
        ):
            yield make.counters(name, text, label, values)

    def _latencies(self) -> Iterable[Metric]:
        requests = self._requests
        for name, text, histogram in (
            ("time_to_first_token_seconds", "Arrival to first token.", requests.first_token),
            (
                "inter_token_latency_seconds",
                "From token to token.",
                requests.inter_token,
            ),
            (
                "request_time_per_output_token_seconds",
                "A request's decode time over its tokens but the first.",
                requests.per_output_token,
            ),
            ("e2e_request_latency_seconds", "Arrival to end.", requests.end_to_end),
            ("request_queue_time_seconds", "Waiting to run.", requests.queue),
            ("request_prefill_time_seconds", "Running to first token.", requests.prefill),
            ("request_decode_time_seconds", "First to last token.", requests.decode),
            ("request_inference_time_seconds", "Running to end.", requests.inference),
            ("engine_step_time_seconds", "One step of the engine.", requests.step_seconds),
            (
                "grammar_compile_time_seconds",
                "Until the grammar of a request was there; known ones are at once.",
                requests.grammar_compile,
            ),
            (
                "grammar_mask_time_seconds",
                "To fill the masks of a step, beside its computation.",
                requests.mask_seconds,
            ),
        ):
            yield self._families.histogram(name, text, histogram)

    def _sizes(self) -> Iterable[Metric]:
        requests = self._requests
        for name, text, histogram in (
            ("request_prompt_tokens", "Prompt tokens of a request.", requests.prompt_tokens),
            (
                "request_generation_tokens",
                "Generated tokens of a request.",
                requests.generation_tokens,
            ),
            ("iteration_tokens_total", "Tokens in one step of the engine.", requests.step_tokens),
        ):
            yield self._families.histogram(name, text, histogram)

    def _facts(self, stats: EngineStats) -> Iterable[Metric]:
        make, facts = self._families, self._model.facts
        yield make.gauges(
            "startup_time_seconds", "What starting took.", "phase", facts.startup_seconds
        )
        yield make.info(
            "cache_config_info",
            "The KV cache.",
            {
                "block_size": str(facts.kv_block_size),
                "cache_dtype": facts.kv_dtype,
                "enable_prefix_caching": str(facts.prefix_caching),
                "num_gpu_blocks": str(stats.kv_blocks),  # vLLM's name, which routers read
            },
        )
        yield make.info(
            "build_info",
            "This build and what it runs on.",
            {
                "version": version("ftllm"),
                "isa": facts.isa,
                "threads": str(facts.threads),
                "weights": ",".join(facts.weight_formats),
            },
        )
