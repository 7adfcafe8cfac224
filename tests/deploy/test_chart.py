"""The Helm chart, linted and rendered by Helm, its manifests against Kubernetes' own schemas.

Needs `pip install '.[deploy-test]'`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.helm_process import Helm, HelmError, helm_program

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CHART = ROOT / "helm"
ACCEPTED = sorted((HERE / "values").glob("*.yaml"))
REFUSED = sorted((HERE / "refused").glob("*.yaml"))

# Kinds that are not Kubernetes' own; their schemas come with their operators.
CUSTOM_KINDS = {"ServiceMonitor", "PrometheusRule", "ScaledObject", "HTTPRoute", "InferencePool"}

Manifests = dict[str, dict[str, Any]]  # by kind


@pytest.fixture(scope="module")
def helm() -> Iterator[Helm]:
    program = helm_program()
    if program is None:
        pytest.skip("Helm is not there: pip install '.[deploy-test]'")
    with Helm(program) as helm:
        yield helm


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart with its hooks as ordinary manifests, which alone are rendered."""
    copy = tmp_path_factory.mktemp("charts") / "ftllm"
    shutil.copytree(CHART, copy)
    for path in (copy / "templates" / "tests").iterdir():
        lines = path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if "helm.sh/hook" not in line and "annotations:" not in line]
        assert len(kept) == len(lines) - 3
        path.write_text("".join(kept))
    return copy


def rendered(helm: Helm, chart: Path, values: str) -> Manifests:
    text = helm.template(chart, HERE / "values" / f"{values}.yaml")
    documents = [document for document in yaml.safe_load_all(text) if document]
    kinds = [document["kind"] for document in documents]
    # A release has one of each, but two ConfigMaps at most.
    assert len(set(kinds)) >= len(kinds) - 1
    return {document["kind"]: document for document in documents}


def pod_spec(manifests: Manifests) -> dict[str, Any]:
    spec: dict[str, Any] = manifests["Deployment"]["spec"]["template"]["spec"]
    return spec


def server_args(manifests: Manifests) -> list[str]:
    args: list[str] = pod_spec(manifests)["containers"][0]["args"]
    return args


def test_enough_value_sets() -> None:
    assert len(ACCEPTED) >= 12
    assert len(REFUSED) >= 8


@pytest.mark.parametrize("values", ACCEPTED, ids=lambda path: path.stem)
def test_value_set(helm: Helm, chart: Path, values: Path) -> None:
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="pip install '.[deploy-test]'"
    )
    assert json.loads(helm.lint(CHART, values))["passed"]
    validated = 0
    for document in yaml.safe_load_all(helm.template(chart, values)):
        if document and document["kind"] not in CUSTOM_KINDS:
            kubernetes_validate.validate(
                document, kubernetes_validate.latest_version(), strict=True
            )
            validated += 1
    assert validated >= 3  # Deployment, Service, test Pod


@pytest.mark.parametrize("values", REFUSED, ids=lambda path: path.stem)
def test_refused_values(helm: Helm, values: Path) -> None:
    with pytest.raises(HelmError, match="don't meet the specifications of the schema"):
        helm.template(CHART, values)


@pytest.mark.parametrize("values", ["default", "hugging_face", "keys"])
def test_needs_no_privilege(helm: Helm, chart: Path, values: str) -> None:
    manifests = rendered(helm, chart, values)
    for spec in (pod_spec(manifests), manifests["Pod"]["spec"]):
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False  # a Service called ftllm would set FTLLM_PORT
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        assert not any("hostPath" in volume for volume in spec.get("volumes", []))
        for container in spec["containers"] + spec.get("initContainers", []):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_every_flag_is_one_of_the_server(helm: Helm, chart: Path) -> None:
    typer = pytest.importorskip("typer")
    app = pytest.importorskip("ftllm.cli.main").app
    server = typer.main.get_command(app).commands["server"]
    flags = {flag for parameter in server.params for flag in parameter.opts}
    for values in ACCEPTED:
        manifests = rendered(helm, chart, values.stem)
        used = {arg.split("=")[0] for arg in server_args(manifests) if arg.startswith("--")}
        assert used <= flags


def test_grace_period_follows_the_drain(helm: Helm, chart: Path) -> None:
    spec = pod_spec(rendered(helm, chart, "tuned"))
    assert spec["terminationGracePeriodSeconds"] == 10 + 91 + 10  # pause, 90.5 s of drain, the rest
    assert spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "10"]


def test_logs_and_traces(helm: Helm, chart: Path) -> None:
    args = server_args(rendered(helm, chart, "tuned"))
    assert {"--log_format=json", "--log_level=warning"} <= set(args)
    assert "--otlp_endpoint=http://collector.tracing:4318" in args
    assert not any(
        arg.startswith("--otlp") for arg in server_args(rendered(helm, chart, "default"))
    )


@pytest.mark.parametrize(("values", "threads"), [("default", 2), ("tuned", 3)])
def test_threads_follow_the_cpu(helm: Helm, chart: Path, values: str, threads: int) -> None:
    assert f"--threads={threads}" in server_args(rendered(helm, chart, values))


def test_limits(helm: Helm, chart: Path) -> None:
    flags = {
        "--max_queue_tokens=200000000",
        "--queue_timeout=20",
        "--request_timeout=600.5",
        "--cors_origin=https://chat.example.com",
        "--cors_origin=*",
    }
    assert flags <= set(server_args(rendered(helm, chart, "tuned")))


def test_probes(helm: Helm, chart: Path) -> None:
    container = pod_spec(rendered(helm, chart, "default"))["containers"][0]
    paths = {
        name: container[f"{name}Probe"]["httpGet"]["path"]
        for name in ("startup", "readiness", "liveness")
    }
    assert paths == {"startup": "/ready", "readiness": "/ready", "liveness": "/live"}


def test_secrets_are_only_referred_to(helm: Helm, chart: Path) -> None:
    manifests = rendered(helm, chart, "keys")
    assert "Secret" not in manifests
    assert "--api_key_file=/etc/ftllm-keys/keys.yaml" in server_args(manifests)
    (volume,) = [each for each in pod_spec(manifests)["volumes"] if each["name"] == "keys"]
    assert volume["secret"]["items"] == [{"key": "keys.yaml", "path": "keys.yaml"}]
    variables = {item["name"]: item for item in pod_spec(manifests)["containers"][0]["env"]}
    for name, secret in (
        ("FTLLM_ADMIN_API_KEYS", "ftllm-admin"),
        ("FTLLM_METRICS_KEYS", "ftllm-metrics"),
    ):
        assert variables[name]["valueFrom"]["secretKeyRef"]["name"] == secret
    endpoint = manifests["ServiceMonitor"]["spec"]["endpoints"][0]
    assert endpoint["authorization"]["credentials"] == {"name": "ftllm-metrics", "key": "key"}


def test_a_model_on_a_volume_is_not_fetched(helm: Helm, chart: Path) -> None:
    manifests = rendered(helm, chart, "volume_model")
    assert "initContainers" not in pod_spec(manifests)
    assert manifests["NetworkPolicy"]["spec"]["egress"] == []
    assert "PersistentVolumeClaim" not in manifests


def test_files_change_the_checksum(helm: Helm, chart: Path) -> None:
    sums = {
        rendered(helm, chart, values)["Deployment"]["spec"]["template"]["metadata"]["annotations"][
            "checksum/files"
        ]
        for values in ("default", "package_model", "tuned")
    }
    assert len(sums) == 3


def test_metrics_prefix_reaches_queries(helm: Helm, chart: Path) -> None:
    monitoring = json.dumps(rendered(helm, chart, "monitoring"))
    assert "vllm:num_requests_waiting" in monitoring
    assert "ftllm:num_requests" not in monitoring
    trigger = rendered(helm, chart, "keda")["ScaledObject"]["spec"]["triggers"][0]["metadata"]
    assert trigger["query"] == (
        'sum(vllm:num_requests_waiting{namespace="llm",service="demo-ftllm"})'
    )
    for values in ("hpa", "keda"):
        assert "replicas" not in rendered(helm, chart, values)["Deployment"]["spec"]


def test_route_goes_to_the_pool(helm: Helm, chart: Path) -> None:
    manifests = rendered(helm, chart, "gateway")
    (backend,) = manifests["HTTPRoute"]["spec"]["rules"][0]["backendRefs"]
    assert backend["kind"] == "InferencePool"
    assert backend["name"] == manifests["InferencePool"]["metadata"]["name"]


def leaves(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value and name != "labels":
            yield from leaves(value, f"{path}{name}.")
        else:
            yield path + name


def test_readme_has_every_value() -> None:
    documented = set(re.findall(r"`([\w.]+)`", (CHART / "README.md").read_text()))
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(leaves(values)) <= documented
