"""Image engine: images from prompts, and from images and prompts, by the model that the environment names."""

from ayni.fastapi import image_router, service

app = service(image_router(), title="Aura Reflect: engine")
