"""The demo's pages: what there is at a glance, and the way in."""

from collections import Counter

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_safe

from broker_project.demo.models import Note
from broker_project.demo.signing_in import user_of
from datapunk_broker import broker

NOTES = 20


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Show topics with their totals, subscriptions with their backlogs, and what handlers noted last."""
    stats = broker.stats()
    backlogs: Counter[str] = Counter()
    for subscription in stats.subscriptions:
        backlogs[subscription.topic] += sum(subscription.backlog.values())
    context = {
        "topics": [(topic, backlogs[topic.name]) for topic in stats.topics],
        "subscriptions": [
            (row, sum(row.backlog.values()), row.settled.get("acked", 0), sum(row.dead_letters.values()))
            for row in stats.subscriptions
        ],
        "notes": Note.objects.all()[:NOTES],
    }
    return render(request, "home.html", context)


@never_cache
@require_GET
def sign_in_by_link(request: HttpRequest, token: str) -> HttpResponse:
    """Sign in who holds a link that was not used before."""
    with transaction.atomic():
        user = user_of(token)
        if user is not None:
            login(request, user)
            return redirect("home")
    messages.error(request, "This link was used before, or is too old. Sign in with your password.")
    return redirect("sign-in")
