"""The broker in Django's admin: a room for each thing that people keep, read or mend."""

from django.contrib import admin

from datapunk_broker.admin.dead_letters import DeadLetterAdmin
from datapunk_broker.admin.grants import TopicGrantAdmin
from datapunk_broker.admin.messages import MessageAdmin
from datapunk_broker.admin.subscriptions import SubscriptionAdmin
from datapunk_broker.admin.topics import TopicAdmin
from datapunk_broker.models import DeadLetter, Message, Subscription, Topic, TopicGrant

admin.site.register(Topic, TopicAdmin)
admin.site.register(Subscription, SubscriptionAdmin)
admin.site.register(Message, MessageAdmin)
admin.site.register(DeadLetter, DeadLetterAdmin)
admin.site.register(TopicGrant, TopicGrantAdmin)
