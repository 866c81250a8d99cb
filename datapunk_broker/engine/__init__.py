"""The rules, in set-based SQL: one verb a file.

``publish`` writes messages and the deliveries they owe, in the caller's transaction. ``claim`` gives a worker its
next deliveries, exclusively, for a while. ``settle`` ends or returns claims, fenced by their tokens. ``append`` moves
what a topic's stream is owed into the stream, and ``read`` gives it by position. ``sweep`` finds what is due, lapsed,
expired or over its limit. ``prune`` removes what is past its retention. ``redrive`` and ``seek`` deliver again.
``explain`` says who gets a message and why. ``stats`` and ``audit`` count. ``topology`` keeps topics and
subscriptions. ``routes`` and ``roster`` remember, briefly, what the database says of bindings and subscriptions.

Lock order, kept by all: topic, subscription, stream head, delivery, dead letter. Rows are locked
``FOR NO KEY UPDATE``, which publishers never wait for.
"""
