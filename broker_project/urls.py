"""Where the demo's pages are."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from broker_project.demo import views

urlpatterns = [
    path("", views.home, name="home"),
    path("notes/", views.notes, name="notes"),
    path("faults/<str:subscription>/", views.switch_fault, name="switch-fault"),
    path("sign-in/", LoginView.as_view(template_name="sign_in.html"), name="sign-in"),
    path("sign-in/<str:token>/", views.sign_in_by_link, name="sign-in-by-link"),
    path("sign-out/", LogoutView.as_view(), name="sign-out"),
    path("favicon.ico", RedirectView.as_view(url=static("demo/icon.svg"))),  # the admin's pages name none
    path("admin/", admin.site.urls),
    path("broker/", include("datapunk_broker.urls")),
]
