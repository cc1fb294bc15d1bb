# The triage chat by Terraform: the manifests of ../triage as they are, with the Secret and the ConfigMap of these variables.

terraform {
  required_version = ">= 1.6"
  required_providers {
    kubernetes = {
      source  = "hashicorp/kubernetes"
      version = "~> 2.35"
    }
  }
}

locals {
  manifests = {
    for name in ["deployment", "service", "autoscaler", "disruption", "network"] :
    name => yamldecode(file("${path.module}/../triage/${name}.yaml"))
  }
  settings = yamldecode(file("${path.module}/../triage/configmap.yaml")).data
}

resource "kubernetes_secret_v1" "triage_chat" {
  metadata {
    name      = "triage-chat"
    namespace = var.namespace
  }
  data = {
    API_KEY      = var.api_key
    HF_API_TOKEN = var.hf_api_token
  }
}

resource "kubernetes_config_map_v1" "triage_chat" {
  metadata {
    name      = "triage-chat"
    namespace = var.namespace
  }
  data = merge(local.settings, {
    DEFAULT_LLM_MODE    = var.llm_mode
    HF_SMOLLM2_MODEL_ID = var.hf_smollm2_model_id
    HF_QWEN_MODEL_ID    = var.hf_qwen_model_id
    HF_TIMEOUT_SECONDS  = tostring(var.hf_timeout_seconds)
    HF_MAX_NEW_TOKENS   = tostring(var.hf_max_new_tokens)
    HF_TEMPERATURE      = tostring(var.hf_temperature)
  })
}

resource "kubernetes_manifest" "triage_chat" {
  for_each = { for name, manifest in local.manifests : name => manifest if name != "deployment" }
  manifest = merge(each.value, { metadata = merge(each.value.metadata, { namespace = var.namespace }) })
}

resource "kubernetes_manifest" "deployment" {
  manifest = merge(local.manifests.deployment, {
    metadata = merge(local.manifests.deployment.metadata, { namespace = var.namespace })
    spec = merge(local.manifests.deployment.spec, {
      template = merge(local.manifests.deployment.spec.template, {
        spec = merge(local.manifests.deployment.spec.template.spec, {
          containers = [
            for container in local.manifests.deployment.spec.template.spec.containers :
            merge(container, { image = var.image })
          ]
        })
      })
    })
  })
  depends_on = [kubernetes_secret_v1.triage_chat, kubernetes_config_map_v1.triage_chat]
}
