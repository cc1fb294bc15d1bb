"""The configuration of every backend, as docs/reference/configuration.md has it."""

# Written by `make gen` from the code. Change the code, not this file.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Union

if TYPE_CHECKING:
    from typing_extensions import Required, TypeAlias

    from ayni._policies import ChatApi, EmbeddingSpace, ErrorKind, HttpOptions, InlineReasoning, LoraSource, Policy, Pooling, Resolution, SafetyMode, ScriptedReply, ZoneMark


class ScriptedConfig(TypedDict, total=False):
    """Deterministic vectors for tests and documentation."""

    backend: Required[Literal["scripted"]]
    model: str
    """The model's name, in answers and as the embedding space."""
    dimensions: int
    """Numbers in a vector."""
    replies: Sequence[ScriptedReply]
    """What the first chats answer, in order. Later chats get an answer built from their question."""
    failures: Sequence[ErrorKind]
    """How the first requests fail, whatever they ask for, in order. Later requests succeed."""
    latency_seconds: float
    """How long each answer takes, by the clock of the call."""
    max_batch: int | None
    """The limit that the backend declares for the inputs of one embedding request."""
    max_concurrency: int | None
    """The limit that the backend declares for requests in flight."""


class OpenaiConfig(TypedDict, total=False):
    """Any OpenAI-compatible API."""

    backend: Required[Literal["openai"]]
    vendor: str
    """The vendor: ``openai`` (the default), ``azure``, ``hf-router``, ``openrouter``, ``groq``, ``gemini-openai``,
    ``vertex``, ``featherless``, ``together``, ``fireworks``, ``cerebras``, ``deepinfra``, ``deepseek``,
    ``scaleway``, ``nscale``, ``nebius``, ``novita``, ``cohere``, ``mistral``, ``ovhcloud``, ``baseten``,
    ``publicai``, ``zai``, ``snowflake``, ``crusoe``, ``sambanova``, ``voyage``, ``ollama``, ``vllm``,
    ``llamacpp``, ``tei``, ``lmstudio``, or ``custom`` for any other server at ``base_url``.
    """
    model: str
    """The model, as the vendor spells it. At ``hf-router`` a suffix chooses the provider: ``:fastest``,
    ``:cheapest``, ``:preferred`` or a provider's name. May be empty where the server has one model.
    """
    base_url: str | None
    """Where the API is, up to and including ``/v1``; the vendor's own address by default."""
    api_key: str | None
    """The credential; the vendor's environment variable by default. With a Hugging Face token (``hf_…``) a vendor
    that Hugging Face bills for is called through its router.
    """
    api_version: str | None
    """The version of the API (``?api-version=``), where the vendor's address names one: ``OPENAI_API_VERSION`` at
    Azure by default.
    """
    chat_api: ChatApi
    """Which of OpenAI's APIs chats."""
    store: bool | None
    """Whether the provider keeps the answers, by the API ``responses`` only; its own default without it. A stored
    answer is continued by its id, so that earlier messages need not be sent again.
    """
    organization: str | None
    """The organisation that pays (``OpenAI-Organization``); ``OPENAI_ORG_ID`` at OpenAI by default."""
    project: str | None
    """The project that pays (``OpenAI-Project``); ``OPENAI_PROJECT_ID`` at OpenAI by default."""
    bill_to: str | None
    """The Hugging Face organisation that pays (``X-HF-Bill-To``)."""
    headers: Mapping[str, str]
    """Further header fields of every request. Credentials are refused here: they belong in ``api_key``."""
    dimensions: int | None
    """Shortens embeddings to this width, for models trained to allow it."""
    space: EmbeddingSpace | None
    """The embedding space; by default the model's, with unit-length vectors of ``dimensions`` numbers."""
    query_prompt: str | None
    """The text that the embedding model wants before queries; "" if it wants none."""
    document_prompt: str | None
    """The text that the embedding model wants before documents; "" if it wants none."""
    max_batch: int | None
    """Most inputs of one embedding request; the vendor's limit by default."""
    max_concurrency: int | None
    """Most requests in flight for this credential; the vendor's limit by default."""
    reasoning_field: str | None
    """The field in which an assistant message's reasoning is sent back (``reasoning_content``, ``reasoning``). By
    default as the vendor's row says: most do not take it back.
    """
    returned_fields: Sequence[str]
    """Further fields of an answer's message and tool calls that the server wants back with the next request."""
    inline_reasoning: InlineReasoning
    """Where reasoning stands if the server does not keep it apart from the text."""


class GeminiConfig(TypedDict, total=False):
    """Google's native API."""

    backend: Required[Literal["gemini"]]
    model: str
    """The model: ``gemini-2.5-flash``, ``gemini-embedding-001``. ``models/…`` and ``tunedModels/…`` are taken too."""
    base_url: str | None
    """Where the API is; ``https://generativelanguage.googleapis.com/v1beta`` by default."""
    api_key: str | None
    """The credential; ``GOOGLE_API_KEY``, then ``GEMINI_API_KEY`` by default."""
    access_token: str | None
    """A Google Cloud access token, sent as a bearer instead of a key: for Vertex AI, whose ``base_url`` ends with
    ``/publishers/google``. ``VERTEX_ACCESS_TOKEN`` by default where the address is Google Cloud's.
    """
    dimensions: int | None
    """Numbers in a vector, for embedding models that can be shortened; the model's own width by default."""
    max_concurrency: int | None
    """Most requests in flight with this credential."""


class HuggingfaceConfig(TypedDict, total=False):
    """Hugging Face: hf-inference and the providers behind the router."""

    backend: Required[Literal["huggingface"]]
    model: str
    """The model's id on the Hub: ``owner/name``, without a ``:provider`` at the end."""
    provider: str
    """The provider: ``hf-inference`` (the default), another one by its name at Hugging Face, or ``auto`` for the
    first one that the Hub lists for the model.
    """
    provider_model: str | None
    """The model's id at the provider; by default the Hub is asked for it."""
    base_url: str | None
    """The router's address; ``https://router.huggingface.co`` by default."""
    hub_url: str | None
    """The Hub's address; ``HF_ENDPOINT``, then ``https://huggingface.co`` by default."""
    direct_url: str | None
    """The provider's own address, for a key of the provider's own."""
    api_key: str | None
    """The credential; ``HF_API_TOKEN``, then ``HF_TOKEN`` by default."""
    bill_to: str | None
    """The organisation that pays, of which the token's owner is a member."""
    dimensions: int | None
    """Shortens vectors to this width, for models trained to allow it."""
    normalise: bool
    """Whether vectors have unit length. ayni normalises them itself."""
    query_prompt: str | None
    """The name of the prompt that the model puts before queries (hf-inference only)."""
    document_prompt: str | None
    """The name of the prompt that the model puts before documents (hf-inference only)."""
    pooling: Pooling | None
    """How to pool the vectors of tokens that some models return. If unset, such responses are refused."""
    space: EmbeddingSpace | None
    """The space of the vectors; by default it is made from model, width, normalisation, pooling and prompts."""
    poll_seconds: float
    """The pause between two polls of a queued job's state, in seconds."""
    poll_limit_seconds: float
    """How long to wait for a queued job, in seconds."""
    return_full_text: bool
    """Whether the answer of text generation begins with the prompt."""


class TeiConfig(TypedDict, total=False):
    """text-embeddings-inference."""

    backend: Required[Literal["tei"]]
    base_url: str
    """Where the server is."""
    model: str
    """The model that must be served, for the vectors' space. If empty, any model is accepted, and the server's host
    stands for the model in the space.
    """
    revision: str | None
    """The revision of the weights that must be served, as a full commit hash."""
    api_key: str | None
    """The credential, where the server asks for one; ``TEI_API_KEY`` by default."""
    dimensions: int | None
    """The width of the vectors: requested from the server, and part of the space."""
    pooling: Pooling | None
    """How the server pools, as part of the space. The server decides by itself."""
    normalised: bool
    """Whether to ask for vectors of unit length."""
    query_prompt_name: str | None
    """The name of the prompt that the model puts before queries; "" if it has none."""
    document_prompt_name: str | None
    """The name of the prompt that the model puts before documents; "" if it has none."""
    max_batch: int
    """Most inputs of one request: the server's ``--max-client-batch-size``."""


class OllamaConfig(TypedDict, total=False):
    """Ollama's native API."""

    backend: Required[Literal["ollama"]]
    model: str
    """The model: ``llama3.2``."""
    base_url: str | None
    """Where the server is; ``http://localhost:11434`` by default."""
    api_key: str | None
    """The credential, where a proxy or Ollama's cloud asks for one; ``OLLAMA_API_KEY`` by default."""
    keep_alive: str | None
    """How long the model stays loaded after a request: ``10m``, ``-1`` for ever, ``0`` not at all. By default the
    server decides.
    """
    num_ctx: int | None
    """Tokens of the context window. The server's default is small, and it cuts longer conversations without saying
    so.
    """
    dimensions: int | None
    """The width of embeddings: requested from the server, and part of the space."""
    query_prompt: str | None
    """The text that the model wants before queries; "" if it wants none."""
    document_prompt: str | None
    """The text that the model wants before documents; "" if it wants none."""


class ClipServiceConfig(TypedDict, total=False):
    """A CLIP embedding service (``/embed/text``, ``/embed/image``)."""

    backend: Required[Literal["clip_service"]]
    url: str
    """The URL of the service, ``https://owner-name.hf.space`` or any other; ``CLIP_SERVICE_URL`` by default."""
    api_key: str | None
    """The service's own key, sent as ``X-API-Key``; ``CLIP_API_KEY`` by default, and no key if that is not set."""
    hf_token: str | None
    """A Hugging Face token for a private Space. It is sent to the service, so it is never read from the environment."""
    model: str
    """The model that the service runs; it names the embedding space."""
    dimensions: int | None
    """The width of the vectors; by default 512 for the default model, and that of the first answer for any other."""
    space: str | None
    """``owner/name`` of the Space behind the URL, to ask the Hub for its state. URLs on ``hf.space`` do not need it."""
    hub_url: str | None
    """The URL of the Hub; ``HF_ENDPOINT``, then ``https://huggingface.co`` by default."""
    timeout_seconds: float
    """The most seconds until the service's status line, unless the context or policy has a shorter limit."""
    wake_seconds: float
    """How many seconds to wait for a service that is waking up, within the deadline."""


class LocalConfig(TypedDict, total=False):
    """In this process."""

    backend: Required[Literal["local"]]
    model: str
    """The weights: a folder, a file (``model.gguf``), or ``org/name[:file][@revision]`` on the Hub, where ``file``
    is a part of the name of one of its GGUF files (``Q4_K_M``), or a sample model (``tiny:clip``).
    """
    device: str | None
    """Where to run: ``auto``, ``cpu`` or ``cuda:N``."""
    precision: str | None
    """In which precision: ``auto``, ``f32``, ``bf16``, ``int8``, or ``bf16x3`` on CPUs with AMX: almost f32, as sums
    of two bf16. Chat models also take ``q8_0`` and ``q4_k``: their plain numbers are quantised while they are
    loaded.
    """
    load: str | None
    """How weights are read: ``map`` (the default) shares the pages of the files with the page cache and other
    processes, and needs files that nobody rewrites in place; ``copy`` reads them into memory.
    """
    dimensions: int | None
    """The width of the vectors, for models trained to have them shortened; by default the model's own."""
    pooling: Pooling | None
    """How the vectors of a text's tokens become one vector, where the model's files do not say it or should not
    decide: ``mean``, ``cls``, ``last_token``, ``max`` or ``weighted_mean``. Language models and cross-encoders
    without files of sentence-transformers need it.
    """
    space: EmbeddingSpace | None
    """The embedding space under the name by which others know it: the model and revision that a folder's files are,
    so that another backend may stand in for it. The rest comes from the files and must agree with what is said
    here.
    """
    verify: bool
    """Whether the precision is measured when the model is loaded: some texts (and images) are embedded in f32 too,
    with a second copy of the weights that is dropped afterwards. If the vectors differ too much, ``auto`` takes
    f32 instead, and any other precision is an error.
    """
    max_image_pixels: int | None
    """The most pixels of an image: 33,554,432 unless it or ``AYNI_MAX_IMAGE_PIXELS`` says otherwise. A larger one is
    refused before anything is allocated for it; decoding takes up to 16 bytes a pixel, and as many images at a
    time as there are threads.
    """


class AnthropicConfig(TypedDict, total=False):
    """Anthropic's Messages API."""

    backend: Required[Literal["anthropic"]]
    model: str
    """The model: ``claude-sonnet-4-6``."""
    base_url: str | None
    """Where the API is, without ``/v1``; ``ANTHROPIC_BASE_URL``, then ``https://api.anthropic.com`` by default."""
    api_key: str | None
    """The API key; ``ANTHROPIC_API_KEY`` by default."""
    auth_token: str | None
    """A token that is sent as a bearer instead of a key; ``ANTHROPIC_AUTH_TOKEN`` by default."""
    max_tokens: int | None
    """The most tokens of an answer whose request names none: the API wants a number. 4096 by default."""
    citations: bool
    """Asks for the places of the conversation's documents that an answer rests on."""
    betas: Sequence[str]
    """Features that are being tried out (``anthropic-beta``)."""
    max_concurrency: int | None
    """Most requests in flight with this credential."""


class ImageEngineConfig(TypedDict, total=False):
    """An image engine (``/generate``, ``/refine``)."""

    backend: Required[Literal["image_engine"]]
    url: str
    """The URL of the engine; ``CLOUD_ENGINE_URL``, then ``VITE_CLOUD_ENGINE_URL`` by default."""
    api_key: str | None
    """The engine's own key, sent as ``X-API-Key``."""
    hf_token: str | None
    """A Hugging Face token for a private Space. It is sent to the engine, so it is never read from the environment."""
    model: str
    """The name of the engine's model until an answer names it."""
    resolution: Resolution
    """The ``resolution`` of requests without one."""
    temperature: float
    """The ``temperature`` of requests without one."""
    space: str | None
    """``owner/name`` of the Space behind the URL, to ask the Hub for its state. URLs on ``hf.space`` do not need it."""
    hub_url: str | None
    """The URL of the Hub; ``HF_ENDPOINT``, then ``https://huggingface.co`` by default."""
    timeout_seconds: float
    """The most seconds until the engine's status line, which comes with the finished images, unless the context or
    policy has a shorter limit.
    """
    wake_seconds: float
    """How many seconds to wait for an engine that is waking up, within the deadline."""


class MercadoPublicoConfig(TypedDict, total=False):
    """Chile's public procurement."""

    backend: Required[Literal["mercado_publico"]]
    ticket: str | None
    """The ticket; ``MERCADO_PUBLICO_TICKET`` by default."""
    quick_ticket: str | None
    """The ticket for the quick-purchase API, if it has its own."""
    base_url: str
    """The URL of the API for tenders and orders."""
    quick_url: str
    """The URL of the API for quick purchases."""
    ocds_url: str
    """The URL of the OCDS service."""
    bulk_url: str
    """The URL of the monthly files."""
    rates_url: str
    """The URL of the rates of currencies by day: mindicador.cl's API."""
    bulk_dir: str | None
    """The folder for monthly files while they are read; by default one beside the lock file."""
    store: str | None
    """The store for quota, checkpoints, answers and records: ``memory``, ``sqlite:<path>``, or
    ``postgres://user:password@host/database`` for several machines; ``DATABASE_URL`` by default, else ``memory``.
    """
    lock: bool
    """Whether processes lock the ticket while they send a request: by a lock file for those on this machine, or,
    with a store in PostgreSQL, through the store for all that share it.
    """
    lock_dir: str | None
    """The folder of the lock file; by default that of the store, else the user's state folder, else the folder for
    temporary files. With a store in PostgreSQL there is a lock file only if this is set.
    """
    daily_quota: int
    """The ticket's requests per day."""
    soft_limit: int
    """The most requests per day that ayni sends."""
    max_calls: int
    """The most calls of one request, unless the request says otherwise. A listing that needs more ends there with a
    cursor.
    """
    min_gap_seconds: float
    """The shortest time between the end of a request and the start of the next."""
    today_ttl_seconds: float
    """How old a stored list of today may be."""
    reread_days: int
    """How many past days are read again, because records are added to a day's list late."""
    page_size: int
    """The rows of a page of quick purchases; halved when the service times out. Even, from 10 to 50."""
    answers_max_megabytes: int
    """The most megabytes of stored answers. The oldest are deleted first; records and events stay."""
    answers_max_days: int
    """The most days that an answer is stored."""
    zone_mark: ZoneMark
    """How to read the ``Z`` in the times of quick purchases and OCDS."""
    personal_data: bool
    """Whether to keep names, telephone numbers and mail addresses of persons. Otherwise they are removed from every
    answer before it is parsed or stored.
    """


EmbedderConfig: TypeAlias = Union[ScriptedConfig, OpenaiConfig, GeminiConfig, HuggingfaceConfig, TeiConfig, OllamaConfig, ClipServiceConfig, LocalConfig]
"""A backend, those that stand in for it, and the policy around them."""


class EmbedderFields(TypedDict, total=False):
    """Every field of every backend: which belong to which is in ``EmbedderConfig``."""

    backend: Literal["scripted", "openai", "gemini", "huggingface", "tei", "ollama", "clip_service", "local"]
    model: str
    dimensions: int | None
    replies: Sequence[ScriptedReply]
    failures: Sequence[ErrorKind]
    latency_seconds: float
    max_batch: int | None
    max_concurrency: int | None
    vendor: str
    base_url: str | None
    api_key: str | None
    api_version: str | None
    chat_api: ChatApi
    store: bool | None
    organization: str | None
    project: str | None
    bill_to: str | None
    headers: Mapping[str, str]
    space: EmbeddingSpace | str | None
    query_prompt: str | None
    document_prompt: str | None
    reasoning_field: str | None
    returned_fields: Sequence[str]
    inline_reasoning: InlineReasoning
    access_token: str | None
    provider: str
    provider_model: str | None
    hub_url: str | None
    direct_url: str | None
    normalise: bool
    pooling: Pooling | None
    poll_seconds: float
    poll_limit_seconds: float
    return_full_text: bool
    revision: str | None
    normalised: bool
    query_prompt_name: str | None
    document_prompt_name: str | None
    keep_alive: str | None
    num_ctx: int | None
    url: str
    hf_token: str | None
    timeout_seconds: float
    wake_seconds: float
    device: str | None
    precision: str | None
    load: str | None
    verify: bool
    max_image_pixels: int | None
    policy: Policy
    """Retries, time-outs, limits, cache, observation."""
    fallback: Sequence[EmbedderConfig]
    """The backends that are asked when it cannot serve, in order."""
    http: HttpOptions
    """How the built-in transport connects: certificates, proxy, user agent. It is not used where the call's context,
    the setup or the policy has a transport.
    """


ChatConfig: TypeAlias = Union[ScriptedConfig, OpenaiConfig, AnthropicConfig, GeminiConfig, HuggingfaceConfig, OllamaConfig, LocalConfig]
"""A backend, those that stand in for it, and the policy around them."""


class ChatFields(TypedDict, total=False):
    """Every field of every backend: which belong to which is in ``ChatConfig``."""

    backend: Literal["scripted", "openai", "anthropic", "gemini", "huggingface", "ollama", "local"]
    model: str
    dimensions: int | None
    replies: Sequence[ScriptedReply]
    failures: Sequence[ErrorKind]
    latency_seconds: float
    max_batch: int | None
    max_concurrency: int | None
    vendor: str
    base_url: str | None
    api_key: str | None
    api_version: str | None
    chat_api: ChatApi
    store: bool | None
    organization: str | None
    project: str | None
    bill_to: str | None
    headers: Mapping[str, str]
    space: EmbeddingSpace | None
    query_prompt: str | None
    document_prompt: str | None
    reasoning_field: str | None
    returned_fields: Sequence[str]
    inline_reasoning: InlineReasoning
    auth_token: str | None
    max_tokens: int | None
    citations: bool
    betas: Sequence[str]
    access_token: str | None
    provider: str
    provider_model: str | None
    hub_url: str | None
    direct_url: str | None
    normalise: bool
    pooling: Pooling | None
    poll_seconds: float
    poll_limit_seconds: float
    return_full_text: bool
    keep_alive: str | None
    num_ctx: int | None
    device: str | None
    precision: str | None
    load: str | None
    template: str | None
    context: int | None
    cache_bytes: int | None
    kv: str | None
    spill: str | None
    spill_bytes: int | None
    speculation: bool | None
    max_running: int | None
    max_queued: int | None
    policy: Policy
    """Retries, time-outs, limits, cache, observation."""
    fallback: Sequence[ChatConfig]
    """The backends that are asked when it cannot serve, in order."""
    http: HttpOptions
    """How the built-in transport connects: certificates, proxy, user agent. It is not used where the call's context,
    the setup or the policy has a transport.
    """


ImageConfig: TypeAlias = Union[ScriptedConfig, OpenaiConfig, HuggingfaceConfig, ImageEngineConfig, LocalConfig]
"""A backend, those that stand in for it, and the policy around them."""


class ImageFields(TypedDict, total=False):
    """Every field of every backend: which belong to which is in ``ImageConfig``."""

    backend: Literal["scripted", "openai", "huggingface", "image_engine", "local"]
    model: str
    dimensions: int | None
    replies: Sequence[ScriptedReply]
    failures: Sequence[ErrorKind]
    latency_seconds: float
    max_batch: int | None
    max_concurrency: int | None
    vendor: str
    base_url: str | None
    api_key: str | None
    api_version: str | None
    chat_api: ChatApi
    store: bool | None
    organization: str | None
    project: str | None
    bill_to: str | None
    headers: Mapping[str, str]
    space: EmbeddingSpace | str | None
    query_prompt: str | None
    document_prompt: str | None
    reasoning_field: str | None
    returned_fields: Sequence[str]
    inline_reasoning: InlineReasoning
    provider: str
    provider_model: str | None
    hub_url: str | None
    direct_url: str | None
    normalise: bool
    pooling: Pooling | None
    poll_seconds: float
    poll_limit_seconds: float
    return_full_text: bool
    url: str
    hf_token: str | None
    resolution: Resolution
    temperature: float
    timeout_seconds: float
    wake_seconds: float
    device: str | None
    precision: str | None
    load: str | None
    loras: Sequence[LoraSource]
    unet: str | None
    vae: str | None
    recipe: str | None
    scheduler: str | None
    memory_bytes: int | None
    max_queued: int | None
    without_receipts: bool
    safety: SafetyMode
    safety_checker: str | None
    policy: Policy
    """Retries, time-outs, limits, cache, observation."""
    fallback: Sequence[ImageConfig]
    """The backends that are asked when it cannot serve, in order."""
    http: HttpOptions
    """How the built-in transport connects: certificates, proxy, user agent. It is not used where the call's context,
    the setup or the policy has a transport.
    """


ProcurementConfig: TypeAlias = Union[ScriptedConfig, MercadoPublicoConfig]
"""A backend, those that stand in for it, and the policy around them."""


class ProcurementFields(TypedDict, total=False):
    """Every field of every backend: which belong to which is in ``ProcurementConfig``."""

    backend: Literal["scripted", "mercado_publico"]
    model: str
    dimensions: int
    replies: Sequence[ScriptedReply]
    failures: Sequence[ErrorKind]
    latency_seconds: float
    max_batch: int | None
    max_concurrency: int | None
    ticket: str | None
    quick_ticket: str | None
    base_url: str
    quick_url: str
    ocds_url: str
    bulk_url: str
    rates_url: str
    bulk_dir: str | None
    store: str | None
    lock: bool
    lock_dir: str | None
    daily_quota: int
    soft_limit: int
    max_calls: int
    min_gap_seconds: float
    today_ttl_seconds: float
    reread_days: int
    page_size: int
    answers_max_megabytes: int
    answers_max_days: int
    zone_mark: ZoneMark
    personal_data: bool
    policy: Policy
    """Retries, time-outs, limits, cache, observation."""
    fallback: Sequence[ProcurementConfig]
    """The backends that are asked when it cannot serve, in order."""
    http: HttpOptions
    """How the built-in transport connects: certificates, proxy, user agent. It is not used where the call's context,
    the setup or the policy has a transport.
    """
