variable "namespace" {
  description = "The namespace that everything goes into; it exists already."
  type        = string
  default     = "default"
}

variable "image" {
  description = "The image of examples/triage-chat/Dockerfile, as the cluster pulls it."
  type        = string
}

variable "api_key" {
  description = "What callers send as X-API-Key."
  type        = string
  sensitive   = true

  validation {
    condition     = length(trimspace(var.api_key)) >= 16
    error_message = "api_key needs at least 16 characters."
  }
}

variable "hf_api_token" {
  description = "The Hugging Face token of the router modes."
  type        = string
  sensitive   = true
}

variable "llm_mode" {
  description = "Which mode answers by default. \"huggingface\" is a name of hf-qwen2.5."
  type        = string
  default     = "huggingface"

  validation {
    condition     = contains(["mock", "gguf", "qwen", "Qwen3-4B-Thinking-2507", "hf-smollm2", "hf-qwen2.5", "huggingface"], var.llm_mode)
    error_message = "llm_mode is one of mock, gguf, qwen, Qwen3-4B-Thinking-2507, hf-smollm2, hf-qwen2.5, huggingface."
  }
}

variable "hf_smollm2_model_id" {
  description = "The model of hf-smollm2."
  type        = string
  default     = "HuggingFaceTB/SmolLM2-1.7B-Instruct"
}

variable "hf_qwen_model_id" {
  description = "The model of hf-qwen2.5, with the provider after the colon."
  type        = string
  default     = "Qwen/Qwen2.5-7B-Instruct:together"
}

variable "hf_timeout_seconds" {
  description = "How long the router may take."
  type        = number
  default     = 30
}

variable "hf_max_new_tokens" {
  description = "The longest answer, in tokens."
  type        = number
  default     = 256
}

variable "hf_temperature" {
  description = "How freely the model chooses its words."
  type        = number
  default     = 0.7
}
