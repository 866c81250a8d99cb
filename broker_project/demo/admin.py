"""The demo's rows in the admin."""

from django.contrib import admin
from rest_framework.authtoken.models import TokenProxy

from broker_project.demo.models import Fault, Note

# Its list and its history would show the keys.
admin.site.unregister(TokenProxy)
admin.site.register([Fault, Note])
