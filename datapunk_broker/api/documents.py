"""The API's description, for machines and for people; whatever else the project has is not in it."""

from typing import Any

from django.templatetags.static import static
from drf_spectacular.renderers import OpenApiJsonRenderer2
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.renderers import TemplateHTMLRenderer

from datapunk_broker.api.door import Door
from datapunk_broker.api.openapi import SETTINGS


class SchemaDocument(Door, SpectacularAPIView):
    """OpenAPI 3.1 in JSON."""

    renderer_classes: Any = (OpenApiJsonRenderer2,)
    custom_settings = SETTINGS
    serve_public = True
    schema = None


class Documentation(Door, SpectacularSwaggerView):
    """Swagger UI, from local files."""

    renderer_classes: Any = (TemplateHTMLRenderer,)
    url_name = "datapunk_broker:schema"
    title = "datapunk_broker"
    schema = None

    @staticmethod
    def _swagger_ui_resource(filename: str) -> str:
        return static(f"drf_spectacular_sidecar/swagger-ui-dist/{filename}")

    @staticmethod
    def _swagger_ui_favicon() -> str:
        return static("drf_spectacular_sidecar/swagger-ui-dist/favicon-32x32.png")
