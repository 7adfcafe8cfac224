{{/* Flags that fetching and serving share. */}}
{{- define "ftllm.sourceArgs" -}}
- {{ .Values.model.source | quote }}
{{- with .Values.model.revision }}
- --revision={{ . }}
{{- end }}
{{- if .Values.model.modelsFile }}
- --models_file=/etc/ftllm/models.yaml
{{- end }}
{{- end }}

{{- define "ftllm.serverArgs" -}}
{{- $server := .Values.server -}}
{{ include "ftllm.sourceArgs" . }}
- --port=8080
{{- with .Values.model.name }}
- {{ printf "--model_name=%s" . | quote }}
{{- end }}
{{- with include "ftllm.threads" . }}
- --threads={{ . }}
{{- end }}
- --dtype={{ $server.dtype }}
- --device={{ $server.device }}
- --pin={{ $server.pin }}
- --kv_cache_dtype={{ $server.kvCacheDtype }}
{{- with $server.kvCacheLimit }}
- --kv_cache_limit={{ . }}
{{- end }}
{{- with $server.tokens }}
- --tokens={{ int . }}
{{- end }}
{{- with $server.maxModelLen }}
- --max_model_len={{ int . }}
{{- end }}
- --max_batch={{ int $server.maxBatch }}
- --max_batched_tokens={{ int $server.maxBatchedTokens }}
- --max_queue={{ int $server.maxQueue }}
- --max_queue_tokens={{ int64 $server.maxQueueTokens }}
- --queue_timeout={{ $server.queueTimeout }}
- --request_timeout={{ $server.requestTimeout }}
- --max_body_mb={{ int $server.maxBodyMb }}
- --max_header_kb={{ int $server.maxHeaderKb }}
- --header_timeout={{ $server.headerTimeout }}
- --body_timeout={{ $server.bodyTimeout }}
- --send_timeout={{ $server.sendTimeout }}
- --max_connections={{ int $server.maxConnections }}
{{- range $server.corsOrigins }}
- {{ printf "--cors_origin=%s" . | quote }}
{{- end }}
{{- if not $server.prefixCache }}
- --no_prefix_cache
{{- end }}
- --speculative={{ $server.speculative }}
- --pack_cache={{ $server.packCache }}
- --pooling={{ $server.pooling }}
- --scoring={{ $server.scoring }}
- --tool_call_parser={{ $server.toolCallParser }}
- --reasoning_parser={{ $server.reasoningParser }}
- --think={{ $server.think }}
{{- if $server.chatTemplate }}
- --chat_template=/etc/ftllm/chat_template.jinja
{{- end }}
- --stored_responses={{ int $server.storedResponses }}
- --stored_megabytes={{ int $server.storedMegabytes }}
- --log_format={{ $server.logFormat }}
- --log_level={{ $server.logLevel }}
{{- if $server.hideInput }}
- --hide_input
{{- end }}
{{- with $server.otlpEndpoint }}
- {{ printf "--otlp_endpoint=%s" . | quote }}
{{- end }}
{{- if $server.lenient }}
- --lenient
{{- end }}
- --keep_alive={{ $server.keepAlive }}
- --stall_timeout={{ $server.stallTimeout }}
- --drain_timeout={{ $server.drainTimeout }}
- --metrics_prefix={{ $server.metricsPrefix }}
{{- if .Values.auth.apiKeys.name }}
- --api_key_file=/etc/ftllm-keys/{{ .Values.auth.apiKeys.key }}
{{- end }}
{{- end }}

{{- define "ftllm.secretEnv" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret.name }}
      key: {{ .secret.key }}
{{- end }}

{{/* What fetching needs. */}}
{{- define "ftllm.sourceEnv" -}}
- name: FTLLM_CACHE
  value: /cache
{{- with .Values.huggingFace.endpoint }}
- name: HF_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- if .Values.huggingFace.tokenSecret.name }}
{{ include "ftllm.secretEnv" (dict "name" "HF_TOKEN" "secret" .Values.huggingFace.tokenSecret) }}
{{- end }}
{{- with .Values.packageIndex }}
- name: PIP_INDEX_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "ftllm.mounts" -}}
- name: cache
  mountPath: /cache
- name: tmp
  mountPath: /tmp
{{- if .Values.model.claim.name }}
- name: models
  mountPath: /models
  readOnly: true
  {{- with .Values.model.claim.subPath }}
  subPath: {{ . | quote }}
  {{- end }}
{{- end }}
{{- if include "ftllm.hasFiles" . }}
- name: files
  mountPath: /etc/ftllm
  readOnly: true
{{- end }}
{{- end }}

{{- define "ftllm.volumes" -}}
- name: tmp
  emptyDir: {}
- name: cache
  {{- if .Values.cache.persistent }}
  persistentVolumeClaim:
    claimName: {{ include "ftllm.cacheClaim" . }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ .Values.cache.size }}
  {{- end }}
{{- if .Values.model.claim.name }}
- name: models
  persistentVolumeClaim:
    claimName: {{ .Values.model.claim.name }}
    readOnly: true
{{- end }}
{{- if include "ftllm.hasFiles" . }}
- name: files
  configMap:
    name: {{ include "ftllm.fullname" . }}
{{- end }}
{{- if .Values.auth.apiKeys.name }}
- name: keys
  secret:
    secretName: {{ .Values.auth.apiKeys.name }}
    defaultMode: 288 # 0440: for the group, which is fsGroup
    items:
      - key: {{ .Values.auth.apiKeys.key }}
        path: {{ .Values.auth.apiKeys.key }}
{{- end }}
{{- end }}
