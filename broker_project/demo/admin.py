"""The demo's rows in the admin."""

from django.contrib import admin

from broker_project.demo.models import Note

admin.site.register(Note)
