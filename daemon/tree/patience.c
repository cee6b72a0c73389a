#include "tree/patience.h"

#include "tree/namespace-private.h"

static void timer_runs(Task *task) {
        Patience *p = container_of(task, Patience, timer.task);

        if (atomic_load(&p->answering))
                patience_unref(p);
        else
                p->recall(p);
}

void patience_init(Patience *p, Namespace *ns, const FlightKey *key) {
        p->ns = ns;
        p->key = *key;
        p->ref = REF_INIT;
        p->timer.task.run = timer_runs;
}

void patience_begin(Patience *p) {
        ref_get(&p->ref);
        timers_arm(p->ns->timers, &p->timer, now_usec() + DEMAND_PATIENCE_USEC);
}

void patience_answering(Patience *p) {
        atomic_store(&p->answering, true);
}

bool patience_show(Patience *p) {
        atomic_store(&p->recalled, true);
        patience_land(p, 0, NULL);
        return atomic_load(&p->denied);
}

void patience_deny(Patience *p) {
        atomic_store(&p->denied, true);
}

bool patience_has_shown(Patience *p) {
        return atomic_load(&p->recalled);
}

void patience_land(Patience *p, int result, const Failure *failure) {
        /* A second time it could be another flight of that name. */
        if (!atomic_exchange(&p->landed, true))
                flight_land(p->ns->flights, &p->key, result, failure);
}

void patience_stop(Patience *p) {
        p->stopped = timers_disarm(p->ns->timers, &p->timer);
}

void patience_fail(Patience *p, int result, const Failure *failure) {
        p->result = result;
        p->failure = *failure;
}

void patience_end(Patience *p) {
        bool failed = p->result < 0;

        /* The server may have been worth waiting for, and failed after all: then the timer has run,
         * for nothing. */
        if (failed && !p->stopped && atomic_load(&p->answering) && !patience_has_shown(p)) {
                ref_get(&p->ref);
                p->recall(p);
        } else if (p->stopped && failed)
                p->recall(p);
        else if (p->stopped)
                patience_unref(p);
        patience_unref(p);
}

void patience_unref(Patience *p) {
        Namespace *ns = p->ns;

        if (!ref_put(&p->ref))
                return;
        if (p->result < 0)
                patience_land(p, p->result, &p->failure);
        p->free(p);
        ns_operation_end(ns);
}
