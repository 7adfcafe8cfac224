"""The OpenAPI document says what the server does."""

from __future__ import annotations

from openapi_cases import explore

from ftllm.server.app import create_app
from ftllm.server.settings import ServerSettings

from .api import Api, listening
from .fake_model import FakeModel


def test_made_up_requests(model: FakeModel) -> None:
    with listening(create_app(model, ServerSettings(max_choices=8))) as url:
        findings = explore(url, examples=15, seconds=10, patience=10)
    assert not findings.faults, findings.faults[0]
    assert {status // 100 for _, status in findings.statuses} >= {2, 4}


def test_a_guarded_server_names_its_headers(model: FakeModel) -> None:
    app = create_app(model, ServerSettings(api_keys=("k",)))
    response = Api(app).get("/openapi.json", headers={"x-api-key": "k"})
    document = response.json()
    assert document["security"] == [{"bearer": []}, {"header": []}]
    assert document["paths"]["/health"]["get"]["security"] == []
    assert "security" not in document["paths"]["/v1/models"]["get"]


def test_every_operation_describes_its_answers(api: Api) -> None:
    document = api.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert set(operation["responses"]) == {"200", "default"}, (method, path)
            kind = "text/plain" if path == "/metrics" else "application/json"
            assert kind in operation["responses"]["200"]["content"]
            schema = operation["responses"]["default"]["content"]["application/json"]["schema"]
            error = "MessagesError" if path.startswith("/v1/messages") else "ErrorAnswer"
            assert schema == {"$ref": f"#/components/schemas/{error}"}
    schemas = document["components"]["schemas"]
    assert set(schemas["ErrorAnswer"]["required"]) == {"error"}
    assert "HTTPValidationError" not in str(document["paths"])
    answer = document["paths"]["/v1/completions"]["post"]["responses"]["200"]["content"]
    assert answer["application/json"]["schema"]["$ref"].endswith("/Completion")
    assert "text/event-stream" in answer
