"""The demo's pages: what there is, live; the switches that make handlers fail; and the way in."""

from collections import Counter
from typing import Any

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required, permission_required
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST, require_safe

from broker_project.demo.models import Fault, Note
from broker_project.demo.signing_in import user_of
from datapunk_broker import broker, rights
from datapunk_broker.conf import is_name
from datapunk_broker.consumers.limits import Limits
from datapunk_broker.models import Subscription, Topic
from datapunk_broker.rights import Action, Somebody

NOTES = 20


@require_safe
@never_cache
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Show the live page, with what there is right now."""
    followed, most = _followed(request.user), Limits().subscriptions
    about = {**_overview(request.user), "notes": _notes(request.user)}
    about |= {"followed": followed[:most], "left_out": len(followed[most:])}
    return render(request, "home.html", about)


@require_safe
@never_cache
@login_required
def notes(request: HttpRequest) -> HttpResponse:
    """Show what handlers noted last: a part of the live page."""
    return render(request, "_notes.html", {"notes": _notes(request.user)})


@require_POST
@permission_required("demo.change_fault", raise_exception=True)
def switch_fault(request: HttpRequest, subscription: str) -> HttpResponse:
    """Make a handler fail from now on, or no more."""
    if not is_name(subscription) or not Subscription.objects.listed().filter(name=subscription).exists():
        raise Http404(f"There is no subscription {subscription!r}.")
    if request.POST.get("fails") == "true":
        Fault.objects.get_or_create(subscription=subscription)
    else:
        Fault.objects.filter(subscription=subscription).delete()
    return HttpResponse(status=204)


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


def _overview(user: Somebody) -> dict[str, Any]:
    """Return topics with their totals, and subscriptions with their backlogs."""
    stats, topics = broker.stats(), _topics(user)
    seen = [subscription for subscription in stats.subscriptions if subscription.topic in topics]
    backlogs: Counter[str] = Counter()
    for subscription in seen:
        backlogs[subscription.topic] += sum(subscription.backlog.values())
    faults = set(Fault.objects.values_list("subscription", flat=True))
    return {
        "topics": [{"row": topic, "backlog": backlogs[topic.name]} for topic in stats.topics if topic.name in topics],
        "subscriptions": [
            {
                "row": row,
                "backlog": sum(row.backlog.values()),
                "acked": row.settled.get("acked", 0),
                "dead": sum(row.dead_letters.values()),
                "fails": row.name in faults,
            }
            for row in seen
        ],
    }


def _notes(user: Somebody) -> QuerySet[Note]:
    """Return what was noted last; notes tell what messages say, hence are for those who may read these."""
    subscriptions = Subscription.objects.listed().filter(topic__name__in=_topics(user, Action.SUBSCRIBE))
    return Note.objects.filter(subscription__in=subscriptions.values("name"))[:NOTES]


def _followed(user: Somebody) -> list[str]:
    """Return the topics whose messages the page shows as they come, and as they came."""
    streams = Topic.objects.live().filter(stream=True).order_by("name")
    return list(rights.visible_topics(user, streams, action=Action.SUBSCRIBE).values_list("name", flat=True))


def _topics(user: Somebody, action: Action | None = None) -> set[str]:
    return set(rights.visible_topics(user, Topic.objects.live(), action=action).values_list("name", flat=True))
