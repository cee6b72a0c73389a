/* manager.h in memory, for the tests of the bus: no mount, no network, and nothing takes time. What
 * a call does is in its path:
 *
 *      Refresh("hold")          waits until Refresh("release")
 *      Refresh("now")           is done before the function returns
 *      Refresh("refused")       is not accepted
 *      Refresh("fail/CLASS")    fails, with that class
 *      Refresh("flap/ORG")      makes an org fail and tells so a hundred times
 *      Refresh("trouble/CLASS/ORG")  makes an org fail with that class
 *      Refresh("notice/CLASS/ORG")   makes an org work, but
 *      Refresh("ready")         makes the daemon ready
 *      Refresh("hosts")         makes servers known
 *      Refresh("full")          makes the cache take nothing
 *      Prefetch("hold")         runs until it is cancelled
 *      Prefetch("fail/CLASS")   fails after a step
 *      Prefetch("forget/...")   is done, and gone as if its minute were over
 *      Pin("fail/CLASS")        is incomplete for that reason, else complete
 *      Verify()                 finds damage while an org is named "broken"
 *      Flush(FLAGS, ...)        shows FLAGS as the counter "store-evicted"
 *      Which("missing")         does not exist
 *      Reload()                 fails while an org is named "broken"
 */

#include "bus/fake-manager.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "gitfs/macro.h"

#include "util/clock.h"
#include "util/path.h"
#include "util/stats.h"

/* --- pending calls --- */

static void pending_finish(Manager *m, Pending *p) {
        TAILQ_REMOVE(&m->pending, p, link);
        if (p->which_done) {
                const WhichInfo info = {
                        .org = "acme",
                        .owner = "group/sub",
                        .repo = "widget",
                        .ref = "main",
                        .commit = "0123456789abcdef0123456789abcdef01234567",
                        .url = "https://example.org/acme/widget",
                        .oid = "89abcdef0123456789abcdef0123456789abcdef",
                        .type = "file",
                        .path = p->path,
                        .size = 42,
                        .resident = true,
                };
                p->which_done(p->result, &info, &p->failure, p->userdata);
        } else
                p->done(p->result, &p->failure, p->userdata);
        free(p->path);
        free(p);
}

static Pending *pending_new(Manager *m, const char *path, void *userdata) {
        Pending *p = calloc(1, sizeof(*p));

        p->path = strdup(path);
        p->userdata = userdata;
        TAILQ_INSERT_TAIL(&m->pending, p, link);
        (void) sd_event_source_set_enabled(m->work, SD_EVENT_ON);
        return p;
}

FailureClass class_from_name(const char *name) {
        for (FailureClass c = FAILURE_NONE + 1; c < _FAILURE_CLASS_MAX; c++)
                if (strcmp(failure_class_name(c), name) == 0)
                        return c;
        return FAILURE_LOCAL;
}

bool starts_with(const char *s, const char *prefix, const char **ret_rest) {
        size_t len = strlen(prefix);

        if (strncmp(s, prefix, len) != 0)
                return false;
        *ret_rest = s + len;
        return true;
}

/* The source is of the lowest priority, so that what one step has told is sent before the next. */
static int on_work(sd_event_source *source, void *userdata) {
        Manager *m = userdata;
        Pending *next;

        fake_jobs_forget(m);
        for (Pending *p = TAILQ_FIRST(&m->pending); p; p = next) {
                next = TAILQ_NEXT(p, link);
                if (!p->held)
                        pending_finish(m, p);
        }
        return sd_event_source_set_enabled(source, fake_jobs_step(m) ? SD_EVENT_ON : SD_EVENT_OFF);
}

/* --- orgs --- */

static FakeOrg *org_find(Manager *m, const char *name) {
        FakeOrg *o;

        TAILQ_FOREACH (o, &m->orgs, link)
                if (strcmp(o->config->name, name) == 0)
                        return o;
        return NULL;
}

static void org_free(Manager *m, FakeOrg *o) {
        TAILQ_REMOVE(&m->orgs, o, link);
        org_config_free(o->config);
        free(o);
}

static OrgInfo org_info(const FakeOrg *o) {
        return (OrgInfo){
                .config = o->config,
                .state = o->state,
                .failure = o->failure,
                .poll_interval_usec = o->config->poll_interval_usec,
                .n_repos = 3,
                .n_checkouts = 1,
        };
}

int manager_each_org(Manager *m, int (*fn)(const OrgInfo *info, void *userdata), void *userdata) {
        FakeOrg *o;
        int r = 0;

        TAILQ_FOREACH (o, &m->orgs, link) {
                OrgInfo info = org_info(o);
                if ((r = fn(&info, userdata)) < 0)
                        break;
        }
        return r;
}

int manager_get_org(Manager *m, const char *name, OrgInfo *ret) {
        const FakeOrg *o = org_find(m, name);

        if (!o)
                return 0;
        *ret = org_info(o);
        return 1;
}

int manager_add_org(Manager *m, const OrgConfig *config, Failure *ret_failure) {
        FakeOrg *before;

        if (!name_is_valid(config->name)) {
                (void) failure_set(
                        ret_failure, FAILURE_LOCAL, "\"%s\" cannot be a name", config->name);
                return -EINVAL;
        }
        if (org_find(m, config->name)) {
                (void) failure_set(
                        ret_failure, FAILURE_LOCAL, "An org \"%s\" exists already", config->name);
                return -EEXIST;
        }
        FakeOrg *o = calloc(1, sizeof(*o));
        int r = org_config_copy(config, &o->config);
        if (r < 0) {
                free(o);
                return r;
        }
        TAILQ_FOREACH (before, &m->orgs, link)
                if (strcmp(before->config->name, config->name) > 0)
                        break;
        if (before)
                TAILQ_INSERT_BEFORE(before, o, link);
        else
                TAILQ_INSERT_TAIL(&m->orgs, o, link);
        if (m->observer.org_added)
                m->observer.org_added(config->name, m->observer.userdata);
        return 0;
}

int manager_remove_org(Manager *m, const char *name, Failure *ret_failure) {
        FakeOrg *o = org_find(m, name);

        if (!o)
                return -ENOENT;
        org_free(m, o);
        if (m->observer.org_removed)
                m->observer.org_removed(name, m->observer.userdata);
        return 0;
}

static void org_flap(Manager *m, const char *name) {
        FakeOrg *o = org_find(m, name);

        if (!o)
                return;
        o->state = ORG_STATE_FAILING;
        (void) failure_set(&o->failure, FAILURE_AUTH, "The server refused the credentials");
        o->failure.http_code = 401;
        for (unsigned i = 0; i < 100 && m->observer.org_changed; i++)
                m->observer.org_changed(name, m->observer.userdata);
}

/* what: "CLASS/ORG". What a server limits ends in an hour. */
static void org_trouble(Manager *m, const char *what, OrgState state) {
        const char *slash = strchr(what, '/');
        FakeOrg *o = slash ? org_find(m, slash + 1) : NULL;

        if (!o)
                return;
        _cleanup_free_ char *class = strndup(what, (size_t) (slash - what));
        o->state = state;
        (void) failure_set(&o->failure, class_from_name(class), "The server said \"%s\"", class);
        if (o->failure.class == FAILURE_RATE_LIMITED)
                o->failure.retry_at_usec = now_usec() + 3600 * USEC_PER_SEC;
        if (m->observer.org_changed)
                m->observer.org_changed(o->config->name, m->observer.userdata);
}

/* --- hosts --- */

int manager_each_host(Manager *m, int (*fn)(const GateInfo *info, void *userdata), void *userdata) {
        const uint64_t hour = 3600 * USEC_PER_SEC, soon = now_usec() + hour;
        const GateInfo hosts[] = {
                {.host = "https://api.example.org",
                 .resource = "core",
                 .account = UINT64_C(0xfeedfeedfeed),
                 .budget = {.limit = 5000, .remaining = 4990, .reset_usec = soon},
                 .n_active = 2,
                 .n_waiting = 1},
                {.host = "https://api.example.org",
                 .resource = "core",
                 .budget = {.limit = 60, .remaining = 0, .reset_usec = soon},
                 .blocked_until_usec = soon},
                {.host = "https://api.example.org",
                 .resource = "graphql",
                 .account = UINT64_C(0xfeedfeedfeed),
                 .budget = {.limit = 5000, .remaining = 5000, .reset_usec = soon}},
                {.host = "https://git.example.org",
                 .resource = "",
                 .account = UINT64_C(0xdeaddeaddead),
                 .blocked_until_usec = soon + 24 * hour,
                 .down = true},
        };
        int r = 0;

        for (size_t i = 0; m->knows_hosts && r >= 0 && i < ELEMENTSOF(hosts); i++)
                r = fn(&hosts[i], userdata);
        return r;
}

/* --- paths --- */

int manager_which(Manager *m, const char *path, ManagerWhichDone done, void *userdata) {
        Pending *p = pending_new(m, path, userdata);

        p->which_done = done;
        if (strcmp(path, "missing") == 0)
                p->result =
                        failure_set(&p->failure, FAILURE_NOT_FOUND, "\"%s\" does not exist", path);
        return 0;
}

int manager_settle(Manager *m, ManagerDone done, void *userdata) {
        done(0, NULL, userdata);
        return 0;
}

int manager_refresh(Manager *m, const char *path, ManagerDone done, void *userdata) {
        const char *rest;
        Pending *p;

        if (strcmp(path, "refused") == 0)
                return -ENOENT;
        if (strcmp(path, "now") == 0) {
                done(0, NULL, userdata);
                return 0;
        }
        if (starts_with(path, "flap/", &rest))
                org_flap(m, rest);
        if (starts_with(path, "trouble/", &rest))
                org_trouble(m, rest, ORG_STATE_FAILING);
        if (starts_with(path, "notice/", &rest))
                org_trouble(m, rest, ORG_STATE_NOTICE);
        if (strcmp(path, "ready") == 0) {
                m->ready = true;
                if (m->observer.ready)
                        m->observer.ready(m->observer.userdata);
        }
        if (strcmp(path, "hosts") == 0)
                m->knows_hosts = true;
        if (strcmp(path, "full") == 0)
                m->cache_full = true;
        if (strcmp(path, "release") == 0)
                TAILQ_FOREACH (p, &m->pending, link)
                        p->held = false;

        p = pending_new(m, path, userdata);
        p->done = done;
        p->held = strcmp(path, "hold") == 0;
        if (starts_with(path, "fail/", &rest))
                p->result = failure_set(
                        &p->failure, class_from_name(rest), "The server said \"%s\"", rest);
        stat_add(STAT_REFRESH_RUNS, 1);
        return 0;
}

int manager_flush(Manager *m, unsigned flags, const char *path, ManagerDone done, void *userdata) {
        pending_new(m, path, userdata)->done = done;
        stat_add(STAT_STORE_EVICTED, (int64_t) flags - stat_get(STAT_STORE_EVICTED));
        return 0;
}

/* --- the rest --- */

int manager_new(sd_event *event, const ManagerOptions *options, Manager **ret) {
        Manager *m = calloc(1, sizeof(*m));

        m->mount_point = strdup(options->mount_point);
        m->runtime_directory = strdup(options->runtime_directory);
        TAILQ_INIT(&m->orgs);
        TAILQ_INIT(&m->jobs);
        TAILQ_INIT(&m->pins);
        TAILQ_INIT(&m->pending);
        int r = sd_event_add_defer(event, &m->work, on_work, m);
        if (r >= 0)
                r = sd_event_source_set_priority(m->work, SD_EVENT_PRIORITY_IDLE);
        if (r >= 0)
                r = sd_event_source_set_enabled(m->work, SD_EVENT_OFF);
        if (r < 0) {
                manager_free(m);
                return r;
        }
        *ret = m;
        return 0;
}

Manager *manager_free(Manager *m) {
        if (!m)
                return NULL;
        while (!TAILQ_EMPTY(&m->pending)) {
                Pending *p = TAILQ_FIRST(&m->pending);
                p->result = failure_set(&p->failure, FAILURE_CANCELLED, "gitfsd is stopping");
                pending_finish(m, p);
        }
        fake_jobs_done(m);
        while (!TAILQ_EMPTY(&m->orgs))
                org_free(m, TAILQ_FIRST(&m->orgs));
        sd_event_source_disable_unref(m->work);
        free(m->mount_point);
        free(m->runtime_directory);
        free(m);
        return NULL;
}

const char *manager_mount_point(const Manager *m) {
        return m->mount_point;
}

const char *manager_runtime_directory(const Manager *m) {
        return m->runtime_directory;
}

const char *manager_cache_directory(const Manager *m) {
        return "/var/cache/x\xff";
}

const char *manager_cache_error(Manager *m) {
        return m->cache_full ? "No space left on device" : "";
}

bool manager_ready(const Manager *m) {
        return m->ready;
}

int manager_reload(Manager *m, Failure *ret_failure) {
        if (!org_find(m, "broken"))
                return 0;
        (void) failure_set(ret_failure, FAILURE_LOCAL, "gitfs.conf:3: unknown option \"Foo\"");
        return -EINVAL;
}

void manager_update_stats(Manager *m) {
        /* As if two threads were moving it. */
        stat_add(STAT_HTTP_ACTIVE_NOW, -1 - stat_get(STAT_HTTP_ACTIVE_NOW));
}

void manager_set_observer(Manager *m, const ManagerObserver *observer) {
        m->observer = observer ? *observer : (ManagerObserver){0};
}
