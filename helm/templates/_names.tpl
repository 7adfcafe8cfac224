{{- define "ftllm.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* 50: names of Pods and of the test are longer by a suffix. */}}
{{- define "ftllm.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "ftllm.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "ftllm.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "ftllm.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ftllm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "ftllm.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "ftllm.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "ftllm.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "ftllm.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "ftllm.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "ftllm.cacheClaim" -}}
{{- default (printf "%s-cache" (include "ftllm.fullname" .)) .Values.cache.existingClaim }}
{{- end }}

{{/* A model on a volume of its own is not fetched. */}}
{{- define "ftllm.fetches" -}}
{{- if not .Values.model.claim.name }}true{{ end }}
{{- end }}

{{- define "ftllm.hasFiles" -}}
{{- if or .Values.server.chatTemplate .Values.model.modelsFile }}true{{ end }}
{{- end }}

{{/* Cores as whole threads: server.threads, else the limit, else the request; "2500m" and 2.5 are 2. */}}
{{- define "ftllm.threads" -}}
{{- if .Values.server.threads }}
{{- int .Values.server.threads }}
{{- else }}
{{- $limits := default dict .Values.resources.limits }}
{{- $requests := default dict .Values.resources.requests }}
{{- $cpu := toString (default "" (coalesce $limits.cpu $requests.cpu)) }}
{{- if hasSuffix "m" $cpu }}
{{- max 1 (div (int (trimSuffix "m" $cpu)) 1000) }}
{{- else if $cpu }}
{{- max 1 (int (floor (float64 $cpu))) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "ftllm.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "ftllm.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
