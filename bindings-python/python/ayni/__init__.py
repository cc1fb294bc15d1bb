"""Local and hosted models behind one typed interface."""

from ayni import _ayni, _errors
from ayni._answers import (
    ChatEvent,
    ChatResponse,
    Finish,
    Logprobs,
    Reasoning,
    Started,
    Text,
    TokenLogprob,
    ToolCall,
    ToolCallArguments,
    ToolCallFinished,
    ToolCallStarted,
)
from ayni._calls import CallOptions, Cancellation, Timeouts
from ayni._chat import AsyncChatStream, Chat, ChatOptions, ChatStream, Messages
from ayni._embedder import Embedder, EmbedInput, EmbedOptions, EmbedResponse
from ayni._errors import *  # noqa: F403
from ayni._image import GenerateOptions, Image, ImageGenerator, ImageResponse, RefineOptions
from ayni._images import ImageSource
from ayni._months import ImportReport, MonthFile, MonthOptions
from ayni._procurement import Answer, GetOptions, Listing, ListOptions, Procurement
from ayni._results import (
    BackendInfo,
    EmbeddingSpace,
    Hardware,
    Limits,
    Parity,
    ProbeParity,
    Progress,
    Route,
    RouteFailure,
    SourceInfo,
    Usage,
)
from ayni._search import BinaryMatch, Match, hamming_top_k, similarity, top_k
from ayni._services import (
    ChatModes,
    KnownModel,
    ModeInfo,
    embedding_architectures,
    hardware,
    health,
    health_sync,
    known_models,
    models,
    models_sync,
    prometheus_text,
)
from ayni.records import (
    Buyer,
    LineItem,
    Money,
    Plan,
    PurchaseOrder,
    PurchaseOrderRow,
    QuickPurchase,
    QuickPurchaseRow,
    Supplier,
    Tender,
    TenderRow,
)

__version__: str = _ayni.__version__
"""The version shared by crate, wheel and addon."""

ERROR_KINDS: tuple[str, ...] = tuple(_ayni.ERROR_KINDS)
"""Every error kind, spelt as in Rust, Node.js and the documentation."""

__all__ = [
    "ERROR_KINDS",
    "__version__",
    "Answer",
    "AsyncChatStream",
    "BackendInfo",
    "BinaryMatch",
    "Buyer",
    "CallOptions",
    "Cancellation",
    "Chat",
    "ChatEvent",
    "ChatModes",
    "ChatOptions",
    "ChatResponse",
    "ChatStream",
    "EmbedInput",
    "EmbedOptions",
    "EmbedResponse",
    "Embedder",
    "EmbeddingSpace",
    "Finish",
    "GenerateOptions",
    "GetOptions",
    "Hardware",
    "Image",
    "ImageGenerator",
    "ImageResponse",
    "ImageSource",
    "ImportReport",
    "KnownModel",
    "Limits",
    "LineItem",
    "ListOptions",
    "Listing",
    "Logprobs",
    "Match",
    "Messages",
    "ModeInfo",
    "Money",
    "MonthFile",
    "MonthOptions",
    "Parity",
    "Plan",
    "ProbeParity",
    "Procurement",
    "Progress",
    "PurchaseOrder",
    "PurchaseOrderRow",
    "QuickPurchase",
    "QuickPurchaseRow",
    "Reasoning",
    "RefineOptions",
    "Route",
    "RouteFailure",
    "SourceInfo",
    "Started",
    "Supplier",
    "Tender",
    "TenderRow",
    "Text",
    "Timeouts",
    "TokenLogprob",
    "ToolCall",
    "ToolCallArguments",
    "ToolCallFinished",
    "ToolCallStarted",
    "Usage",
    "embedding_architectures",
    "hamming_top_k",
    "hardware",
    "health",
    "health_sync",
    "known_models",
    "models",
    "models_sync",
    "prometheus_text",
    "similarity",
    "top_k",
]
__all__ += _errors.__all__
