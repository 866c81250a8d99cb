"""Django's classes with the type parameters that only the type checker knows of."""

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin, TabularInline
    from django.core.paginator import Paginator
    from django.forms import BaseInlineFormSet, ModelForm
else:
    from django.contrib import admin
    from django.core import paginator
    from django.forms import models as forms

    class _Generic:
        def __class_getitem__(cls, _: Any) -> type[Self]:
            return cls

    class ModelAdmin(_Generic, admin.ModelAdmin):
        """The admin of one model."""

    class TabularInline(_Generic, admin.TabularInline):
        """Rows of another model, edited with their parent."""

    class ModelForm(_Generic, forms.ModelForm):
        """The form of one model."""

    class BaseInlineFormSet(_Generic, forms.BaseInlineFormSet):
        """The forms of an inline."""

    class Paginator(_Generic, paginator.Paginator):
        """Rows in pages."""


__all__ = ("BaseInlineFormSet", "ModelAdmin", "ModelForm", "Paginator", "TabularInline")
