"""The broker's tables, and how PostgreSQL is to vacuum the hot ones."""

import datapunk_broker.models.topic
import datapunk_broker.states
import django.db.models.deletion
from django.conf import settings
from datapunk_broker.migrations._vacuum import vacuum_hot_tables
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Topic',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200)),
                ('type', models.CharField(choices=[('fanout', 'fanout'), ('direct', 'direct'), ('topic', 'topic'), ('headers', 'headers')], max_length=24)),
                ('delivery_mode', models.CharField(blank=True, choices=[('at_least_once', 'at least once'), ('at_most_once', 'at most once'), ('exactly_once', 'exactly once')], max_length=24, null=True)),
                ('persistent', models.BooleanField(blank=True, null=True)),
                ('max_message_size', models.PositiveIntegerField(blank=True, help_text='Bytes.', null=True)),
                ('max_queue_size', models.PositiveIntegerField(blank=True, help_text='Unsettled deliveries of a subscription; 0 is no limit.', null=True)),
                ('overflow', models.CharField(blank=True, choices=[('reject', 'reject'), ('drop_oldest', 'drop oldest'), ('dead_letter_oldest', 'dead letter oldest')], max_length=24, null=True)),
                ('max_subscribers', models.PositiveIntegerField(blank=True, null=True)),
                ('retention_hours', models.FloatField(blank=True, null=True)),
                ('compression_threshold', models.PositiveIntegerField(blank=True, help_text='Compress bodies of at least so many bytes; 0 never does.', null=True)),
                ('schema', models.JSONField(blank=True, help_text='JSON Schema that every payload must fit.', null=True)),
                ('stream', models.BooleanField(default=True, help_text='Keep a stream for WebSocket and SSE readers.')),
                ('dead_letter_topic', models.CharField(blank=True, help_text='Dead letters are published to this topic as well.', max_length=200, null=True)),
                ('history', models.BooleanField(default=True, help_text='Keep a row for each settled delivery.')),
                ('routing_version', models.PositiveBigIntegerField(default=datapunk_broker.models.topic.new_routing_version, editable=False)),
                ('declared', models.JSONField(editable=False, null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('deleted_at', models.DateTimeField(editable=False, null=True)),
            ],
            options={
                'ordering': ('name',),
            },
        ),
        migrations.CreateModel(
            name='Subscription',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=207)),
                ('transport', models.CharField(choices=[('handler', 'handler'), ('webhook', 'webhook'), ('pull', 'pull'), ('stream', 'stream')], default='handler', max_length=24)),
                ('handler', models.CharField(blank=True, editable=False, max_length=500)),
                ('mode', models.CharField(choices=[('individual', 'individual'), ('batch', 'batch'), ('streaming', 'streaming')], default='individual', max_length=24)),
                ('delivery_mode', models.CharField(blank=True, choices=[('at_least_once', 'at least once'), ('at_most_once', 'at most once'), ('exactly_once', 'exactly once')], max_length=24, null=True)),
                ('ack_deadline', models.FloatField(blank=True, null=True)),
                ('timeout', models.FloatField(blank=True, null=True)),
                ('max_attempts', models.PositiveIntegerField(blank=True, null=True)),
                ('retry_strategy', models.CharField(blank=True, choices=[('fixed', 'fixed'), ('exponential', 'exponential'), ('linear', 'linear'), ('random', 'random'), ('fibonacci', 'fibonacci')], max_length=24, null=True)),
                ('retry_delay', models.FloatField(blank=True, null=True)),
                ('backoff_factor', models.FloatField(blank=True, null=True)),
                ('max_retry_delay', models.FloatField(blank=True, null=True)),
                ('jitter', models.FloatField(blank=True, null=True)),
                ('batch_size', models.PositiveIntegerField(blank=True, null=True)),
                ('batch_window', models.FloatField(blank=True, null=True)),
                ('max_in_flight', models.PositiveIntegerField(blank=True, null=True)),
                ('ordering', models.BooleanField(default=False)),
                ('breaker', models.JSONField(blank=True, null=True)),
                ('endpoint_url', models.CharField(blank=True, max_length=2000)),
                ('secret', models.CharField(blank=True, editable=False, max_length=200)),
                ('previous_secret', models.CharField(blank=True, editable=False, max_length=200)),
                ('state', models.CharField(choices=[('active', 'active'), ('paused', 'paused'), ('disabled', 'disabled'), ('deleted', 'deleted')], default='active', max_length=24)),
                ('over_limit', models.BooleanField(default=False, editable=False)),
                ('breaker_state', models.CharField(choices=[('closed', 'closed'), ('open', 'open'), ('half_open', 'half open')], default='closed', editable=False, max_length=24)),
                ('breaker_failures', models.PositiveIntegerField(default=0, editable=False)),
                ('breaker_until', models.DateTimeField(editable=False, null=True)),
                ('restamp_until', models.DateTimeField(editable=False, null=True)),
                ('declared', models.JSONField(editable=False, null=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('deleted_at', models.DateTimeField(editable=False, null=True)),
                ('topic', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='subscriptions', to='datapunk_broker.topic')),
            ],
            options={
                'ordering': ('name',),
            },
        ),
        migrations.CreateModel(
            name='Binding',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('routing_key', models.CharField(blank=True, max_length=255, null=True)),
                ('headers', models.JSONField(blank=True, null=True)),
                ('subscription', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='bindings', to='datapunk_broker.subscription')),
            ],
            options={
                'ordering': ('pk',),
            },
        ),
        migrations.CreateModel(
            name='TopicGrant',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('topic', models.CharField(max_length=200)),
                ('publish', models.BooleanField(default=False)),
                ('subscribe', models.BooleanField(default=False)),
                ('manage', models.BooleanField(default=False)),
                ('group', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, to='auth.group')),
                ('user', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='Message',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('routing_key', models.CharField(blank=True, max_length=255)),
                ('headers', models.JSONField(default=dict)),
                ('body', models.BinaryField()),
                ('encoding', models.CharField(choices=[('identity', 'identity'), ('zstd', 'zstd')], max_length=24)),
                ('content_type', models.CharField(max_length=200)),
                ('priority', models.PositiveSmallIntegerField()),
                ('ordering_key', models.CharField(max_length=255, null=True)),
                ('idempotency_key', models.CharField(max_length=255, null=True)),
                ('correlation_id', models.CharField(max_length=255, null=True)),
                ('reply_to', models.CharField(max_length=200, null=True)),
                ('routed_to', models.JSONField(default=list)),
                ('published_at', models.DateTimeField()),
                ('available_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField(null=True)),
                ('redriven_from', models.UUIDField(null=True)),
                ('topic', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='datapunk_broker.topic')),
            ],
            options={
                'ordering': ('-id',),
            },
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('state', models.CharField(choices=[('scheduled', 'scheduled'), ('ready', 'ready'), ('claimed', 'claimed')], max_length=24)),
                ('priority', models.PositiveSmallIntegerField()),
                ('ordering_key', models.CharField(max_length=255, null=True)),
                ('attempt', models.PositiveIntegerField(default=0)),
                ('claims', models.PositiveIntegerField(default=0)),
                ('lapses', models.PositiveIntegerField(default=0)),
                ('published_at', models.DateTimeField()),
                ('available_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField(null=True)),
                ('ack_token', models.UUIDField(null=True)),
                ('lease_until', models.DateTimeField(null=True)),
                ('message', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='datapunk_broker.message')),
                ('subscription', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='datapunk_broker.subscription')),
            ],
            options={
                'verbose_name_plural': 'deliveries',
            },
        ),
        migrations.CreateModel(
            name='SettledDelivery',
            fields=[
                ('pk', models.CompositePrimaryKey('message_id', 'subscription_id', blank=True, editable=False, primary_key=True, serialize=False)),
                ('outcome', models.CharField(choices=[('acked', 'acked'), ('dead', 'dead'), ('expired', 'expired'), ('dropped', 'dropped')], max_length=24)),
                ('attempts', models.PositiveIntegerField()),
                ('settled_at', models.DateTimeField()),
                ('latency', models.FloatField()),
                ('message', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='datapunk_broker.message')),
                ('subscription', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='datapunk_broker.subscription')),
            ],
            options={
                'verbose_name_plural': 'settled deliveries',
            },
        ),
        migrations.CreateModel(
            name='Attempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('attempt', models.PositiveIntegerField()),
                ('reason', models.CharField(choices=[('validation_error', 'validation error'), ('processing_error', 'processing error'), ('timeout', 'timeout'), ('dependency_error', 'dependency error'), ('unknown', 'unknown'), ('expired', 'expired'), ('overflow', 'overflow'), ('rejected', 'rejected'), ('attempts_exhausted', 'attempts exhausted'), ('lease_lost', 'lease lost')], max_length=24)),
                ('error_class', models.CharField(blank=True, max_length=255)),
                ('error_message', models.TextField(blank=True)),
                ('failed_at', models.DateTimeField()),
                ('message', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='datapunk_broker.message')),
                ('subscription', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='datapunk_broker.subscription')),
            ],
            options={
                'ordering': ('pk',),
            },
        ),
        migrations.CreateModel(
            name='DeadLetter',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('reason', models.CharField(choices=[('validation_error', 'validation error'), ('processing_error', 'processing error'), ('timeout', 'timeout'), ('dependency_error', 'dependency error'), ('unknown', 'unknown'), ('expired', 'expired'), ('overflow', 'overflow'), ('rejected', 'rejected'), ('attempts_exhausted', 'attempts exhausted'), ('lease_lost', 'lease lost')], max_length=24)),
                ('error_class', models.CharField(blank=True, max_length=255)),
                ('error_message', models.TextField(blank=True)),
                ('traceback', models.TextField(blank=True)),
                ('attempts', models.PositiveIntegerField()),
                ('first_failed_at', models.DateTimeField()),
                ('dead_at', models.DateTimeField()),
                ('redrives', models.PositiveIntegerField(default=0)),
                ('redriven_at', models.DateTimeField(null=True)),
                ('message', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='datapunk_broker.message')),
                ('topic', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='datapunk_broker.topic')),
                ('subscription', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='datapunk_broker.subscription')),
            ],
            options={
                'ordering': ('-dead_at', '-id'),
            },
        ),
        migrations.CreateModel(
            name='StreamHead',
            fields=[
                ('topic', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='stream_head', serialize=False, to='datapunk_broker.topic')),
                ('position', models.PositiveBigIntegerField(default=0)),
            ],
        ),
        migrations.CreateModel(
            name='StreamEntry',
            fields=[
                ('pk', models.CompositePrimaryKey('topic_id', 'position', blank=True, editable=False, primary_key=True, serialize=False)),
                ('position', models.PositiveBigIntegerField()),
                ('appended_at', models.DateTimeField()),
                ('message', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='datapunk_broker.message')),
                ('topic', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='datapunk_broker.topic')),
            ],
            options={
                'verbose_name_plural': 'stream entries',
            },
        ),
        migrations.CreateModel(
            name='Traffic',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('minute', models.DateTimeField()),
                ('outcome', models.CharField(choices=[('acked', 'acked'), ('dead', 'dead'), ('expired', 'expired'), ('dropped', 'dropped')], max_length=24)),
                ('count', models.PositiveIntegerField()),
                ('seconds', models.FloatField()),
                ('buckets', models.JSONField()),
                ('subscription', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='datapunk_broker.subscription')),
            ],
            options={
                'verbose_name_plural': 'traffic',
            },
        ),
        migrations.CreateModel(
            name='TrafficMinute',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('minute', models.DateTimeField()),
                ('outcome', models.CharField(max_length=24)),
                ('count', models.PositiveBigIntegerField()),
                ('seconds', models.FloatField(default=0.0)),
                ('buckets', models.JSONField(default=list)),
                ('subscription', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='datapunk_broker.subscription')),
                ('topic', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='datapunk_broker.topic')),
            ],
        ),
        migrations.CreateModel(
            name='TrafficTotal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('outcome', models.CharField(max_length=24)),
                ('count', models.PositiveBigIntegerField(default=0)),
                ('seconds', models.FloatField(default=0.0)),
                ('buckets', models.JSONField(default=list)),
                ('counted_before', models.UUIDField(null=True)),
                ('subscription', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='datapunk_broker.subscription')),
                ('topic', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='datapunk_broker.topic')),
            ],
        ),
        migrations.CreateModel(
            name='Standby',
            fields=[
                ('transport', models.CharField(choices=[('handler', 'handler'), ('webhook', 'webhook'), ('pull', 'pull'), ('stream', 'stream')], max_length=24, primary_key=True, serialize=False)),
                ('holder', models.UUIDField()),
                ('until', models.DateTimeField()),
            ],
        ),
        migrations.AddConstraint(
            model_name='topic',
            constraint=models.UniqueConstraint(condition=models.Q(('deleted_at', None)), fields=('name',), name='broker_topic_name'),
        ),
        migrations.AddConstraint(
            model_name='topic',
            constraint=models.CheckConstraint(condition=models.Q(('type__in', ['fanout', 'direct', 'topic', 'headers'])), name='broker_topic_type'),
        ),
        migrations.AddConstraint(
            model_name='topic',
            constraint=models.CheckConstraint(condition=models.Q(('delivery_mode__in', ['at_least_once', 'at_most_once', 'exactly_once'])), name='broker_topic_mode'),
        ),
        migrations.AddConstraint(
            model_name='topic',
            constraint=models.CheckConstraint(condition=models.Q(('overflow__in', ['reject', 'drop_oldest', 'dead_letter_oldest'])), name='broker_topic_overflow'),
        ),
        migrations.AddIndex(
            model_name='streamentry',
            index=models.Index(fields=['message'], name='broker_stream_message'),
        ),
        migrations.AddIndex(
            model_name='message',
            index=models.Index(fields=['topic', 'id'], name='broker_message_topic'),
        ),
        migrations.AddConstraint(
            model_name='message',
            constraint=models.UniqueConstraint(condition=models.Q(('idempotency_key__isnull', False)), fields=('topic', 'idempotency_key'), name='broker_message_idempotency'),
        ),
        migrations.AddConstraint(
            model_name='message',
            constraint=models.CheckConstraint(condition=models.Q(('priority__gte', 0), ('priority__lte', 9)), name='broker_message_priority'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.UniqueConstraint(condition=models.Q(('state', datapunk_broker.states.SubscriptionState['DELETED']), _negated=True), fields=('name',), name='broker_subscription_name'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('deleted_at__isnull', False), ('state', datapunk_broker.states.SubscriptionState['DELETED'])), models.Q(models.Q(('state', datapunk_broker.states.SubscriptionState['DELETED']), _negated=True), ('deleted_at', None)), _connector='OR'), name='broker_subscription_tombstone'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(('transport__in', ['handler', 'webhook', 'pull', 'stream'])), name='broker_subscription_transport'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(('mode__in', ['individual', 'batch', 'streaming'])), name='broker_subscription_mode'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(('delivery_mode__in', ['at_least_once', 'at_most_once', 'exactly_once'])), name='broker_subscription_delivery'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['active', 'paused', 'disabled', 'deleted'])), name='broker_subscription_state'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('breaker_state', datapunk_broker.states.BreakerState['CLOSED']), ('breaker_until', None)), models.Q(('breaker_state__in', [datapunk_broker.states.BreakerState['OPEN'], datapunk_broker.states.BreakerState['HALF_OPEN']]), ('breaker_until__isnull', False)), _connector='OR'), name='broker_subscription_breaker'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(models.F('subscription_id'), models.OrderBy(models.F('priority'), descending=True), models.F('id'), condition=models.Q(('state', datapunk_broker.states.DeliveryState['READY']), ('lapses', 0), ('ordering_key', None)), name='broker_delivery_ready'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('ordering_key__isnull', False)), fields=['subscription', 'ordering_key', 'id'], name='broker_delivery_ordered'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state', datapunk_broker.states.DeliveryState['READY']), ('lapses__gt', 0)), fields=['subscription', 'id'], name='broker_delivery_suspect'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state', datapunk_broker.states.DeliveryState['SCHEDULED'])), fields=['available_at'], name='broker_delivery_due'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('state', datapunk_broker.states.DeliveryState['CLAIMED'])), fields=['subscription', 'lease_until'], name='broker_delivery_lease'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('expires_at__isnull', False)), fields=['expires_at'], name='broker_delivery_expiry'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.UniqueConstraint(fields=('message', 'subscription'), name='broker_delivery_pair'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['scheduled', 'ready', 'claimed'])), name='broker_delivery_state'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', datapunk_broker.states.DeliveryState['CLAIMED']), ('ack_token__isnull', False), ('lease_until__isnull', False)), models.Q(models.Q(('state', datapunk_broker.states.DeliveryState['CLAIMED']), _negated=True), ('ack_token', None), ('lease_until', None)), _connector='OR'), name='broker_delivery_claim'),
        ),
        migrations.AddIndex(
            model_name='deadletter',
            index=models.Index(condition=models.Q(('redriven_at', None)), fields=['-dead_at', '-id'], name='broker_dead_letter_open'),
        ),
        migrations.AddIndex(
            model_name='deadletter',
            index=models.Index(condition=models.Q(('redriven_at', None)), fields=['subscription', '-dead_at', '-id'], name='broker_dead_letter_sub'),
        ),
        migrations.AddIndex(
            model_name='deadletter',
            index=models.Index(condition=models.Q(('redriven_at', None)), fields=['topic', '-dead_at', '-id'], name='broker_dead_letter_topic'),
        ),
        migrations.AddIndex(
            model_name='deadletter',
            index=models.Index(condition=models.Q(('redriven_at', None)), fields=['reason', '-dead_at', '-id'], name='broker_dead_letter_reason'),
        ),
        migrations.AddIndex(
            model_name='deadletter',
            index=models.Index(condition=models.Q(('redriven_at__isnull', False)), fields=['-dead_at', '-id'], name='broker_dead_letter_redriven'),
        ),
        migrations.AddConstraint(
            model_name='deadletter',
            constraint=models.UniqueConstraint(fields=('message', 'subscription'), name='broker_dead_letter_pair'),
        ),
        migrations.AddConstraint(
            model_name='binding',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('headers__isnull', True), ('routing_key__isnull', False)), models.Q(('headers__isnull', False), ('routing_key__isnull', True)), _connector='OR'), name='broker_binding_kind'),
        ),
        migrations.AddIndex(
            model_name='attempt',
            index=models.Index(fields=['message', 'subscription'], name='broker_attempt_pair'),
        ),
        migrations.AddIndex(
            model_name='topicgrant',
            index=models.Index(fields=['topic'], name='broker_grant_topic'),
        ),
        migrations.AddConstraint(
            model_name='topicgrant',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('group__isnull', False), ('user__isnull', True)), models.Q(('group__isnull', True), ('user__isnull', False)), _connector='OR'), name='broker_grant_holder'),
        ),
        migrations.AddConstraint(
            model_name='trafficminute',
            constraint=models.UniqueConstraint(condition=models.Q(('subscription__isnull', False)), fields=('subscription', 'minute', 'outcome'), name='broker_minute_subscription'),
        ),
        migrations.AddConstraint(
            model_name='trafficminute',
            constraint=models.UniqueConstraint(condition=models.Q(('subscription__isnull', True)), fields=('topic', 'minute', 'outcome'), name='broker_minute_topic'),
        ),
        migrations.AddConstraint(
            model_name='traffictotal',
            constraint=models.UniqueConstraint(condition=models.Q(('subscription__isnull', False)), fields=('subscription', 'outcome'), name='broker_total_subscription'),
        ),
        migrations.AddConstraint(
            model_name='traffictotal',
            constraint=models.UniqueConstraint(condition=models.Q(('subscription__isnull', True)), fields=('topic', 'outcome'), name='broker_total_topic'),
        ),
        migrations.RunPython(vacuum_hot_tables, migrations.RunPython.noop),
    ]
