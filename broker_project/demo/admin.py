"""The demo's rows in the admin."""

from django.contrib import admin

from broker_project.demo.models import Fault, Note

admin.site.register([Fault, Note])
