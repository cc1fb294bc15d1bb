#!/usr/bin/env python3
"""Makes core/tests/golden/continuations.json: greedy answers of llama.cpp to 20 questions with SmolLM2-135M-Instruct.Q4_1.
Run again only to add questions; the result is committed and needs no library.

Made with xllamacpp 2026.10.11549 (llama.cpp) on Python 3.11:

    python core/tests/golden/make/continuations.py PATH/TO/SmolLM2-135M-Instruct.Q4_1.gguf

Products with quantised weights round activations, in another order in every engine: where the two likeliest tokens are
nearer than that, either may come. `tie` is how much of the answer comes before the first such place, in bytes.
"""

import json
import sys
from pathlib import Path

import xllamacpp

TOKENS = 64
# How far apart, in nats, the two likeliest tokens must be for the rounding of thirty layers not to exchange them.
APART = 0.22

QUESTIONS = [
    "What is the capital of Chile?",
    "Name three colours.",
    "Count from one to ten.",
    "Write a haiku about rain.",
    "Why is the sky blue?",
    "Translate 'good morning' to Spanish.",
    "What is 7 times 8?",
    "Who wrote Don Quixote?",
    "List the days of the week.",
    "Explain photosynthesis in one sentence.",
    "What medications am I taking?",
    "Give me a recipe for pancakes.",
    "¿Qué es una llama?",
    "What is the opposite of hot?",
    "Write a Python function that adds two numbers.",
    "How many legs does a spider have?",
    "Summarise: The cat sat on the mat and slept all day long.",
    "What is the largest planet of the solar system?",
    "Tell me a joke about computers.",
    "What should I do with a fever?",
]

parameters = xllamacpp.CommonParams()
parameters.model.path = sys.argv[1]
parameters.n_ctx = 2048
parameters.n_parallel = 1
parameters.cpuparams.n_threads = 1
server = xllamacpp.Server(parameters)
found = []
for question in QUESTIONS:
    answer = server.handle_chat_completions(
        {
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": TOKENS,
            "cache_prompt": False,
            "logprobs": True,
            "top_logprobs": 2,
        }
    )
    choice = answer["choices"][0]
    before, tie = 0, None
    for token in choice["logprobs"]["content"]:
        first, second = (alternative["logprob"] for alternative in token["top_logprobs"][:2])
        if first - second < APART:
            tie = before
            break
        before += len(bytes(token["bytes"]))
    found.append(
        {
            "question": question,
            "prompt_tokens": answer["usage"]["prompt_tokens"],
            "answer": choice["message"]["content"],
            "tie": tie,
        }
    )
    print(question, tie, repr(choice["message"]["content"][:60]), answer["usage"])
path = Path(__file__).resolve().parent.parent / "continuations.json"
path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
