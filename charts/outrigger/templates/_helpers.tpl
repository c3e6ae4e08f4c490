{{/* Every name is fixed: sidecars and certificates know the Service as outrigger.NAMESPACE.svc, and a cluster has one mesh. */}}

{{- define "outrigger.selector" -}}
app.kubernetes.io/name: outrigger
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: control-plane
{{- end }}

{{/* Labels of any object; "component" says which part of the mesh it is. */}}
{{- define "outrigger.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ .name | default "outrigger" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component | default "control-plane" }}
app.kubernetes.io/part-of: outrigger
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "outrigger.image" -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end }}

{{/* Secret with the key of the authority. */}}
{{- define "outrigger.authoritySecret" -}}
{{- dig "authority" "secret" "outrigger-ca" .Values.config -}}
{{- end }}

{{/* The control plane's settings: values.config, with what other values imply. */}}
{{- define "outrigger.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $injector := $config.injector | default dict -}}
{{- if not $injector.image }}{{ $_ := set $injector "image" (include "outrigger.image" .) }}{{ end -}}
{{- $_ := set $config "injector" $injector -}}
{{- if .Values.certManager.enabled -}}
{{- $authority := $config.authority | default dict -}}
{{- $_ := set $authority "managed" false -}}
{{- $_ := set $config "authority" $authority -}}
{{- end -}}
{{- $tracing := $config.tracing | default dict -}}
{{- if and .Values.jaeger.enabled (not $tracing.otlpEndpoint) -}}
{{- $_ := set $tracing "otlpEndpoint" (printf "http://outrigger-jaeger.%s.svc:4318" .Release.Namespace) -}}
{{- $_ := set $config "tracing" $tracing -}}
{{- end -}}
{{ toYaml $config }}
{{- end }}

{{/* Namespaces whose Pods are never asked about: a webhook that is down must not keep the cluster itself, or us, from starting. */}}
{{- define "outrigger.excludedNamespaces" -}}
{{- concat (list "kube-system" "kube-public" "kube-node-lease" .Release.Namespace) .Values.webhook.excludedNamespaces | uniq | toJson -}}
{{- end }}

{{/* Passes Pod Security "restricted". */}}
{{- define "outrigger.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}
