#include "tree/org.h"

#include <errno.h>
#include <string.h>

int org_new(const OrgConfig *config, const ForgeContext *context, Org **ret, Failure *ret_failure) {
        Org *alloc = calloc(1, sizeof(*alloc));
        if (!alloc)
                return -ENOMEM;
        alloc->ref = REF_INIT;
        mutex_init(&alloc->lock, LOCK_RANK_ORG);
        int r = owner_init(&alloc->root, alloc);
        _cleanup_(org_unrefp) Org *org = alloc;

        if (r >= 0)
                r = org_config_copy(config, &org->config);
        if (r >= 0)
                r = forge_open(org->config, context, &org->forge, ret_failure);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(org);
        return 0;
}

Org *org_ref(Org *org) {
        ref_get(&org->ref);
        return org;
}

Org *org_unref(Org *org) {
        if (!org || !ref_put(&org->ref))
                return NULL;
        owner_done(&org->root);
        forge_unref(org->forge);
        org_config_free(org->config);
        mutex_destroy(&org->lock);
        free(org);
        return NULL;
}

void org_close(Org *org) {
        owner_close(&org->root);
}

typedef enum Verdict {
        VERDICT_NONE, /* says nothing of the org */
        VERDICT_OK,
        VERDICT_NOTICE,
        VERDICT_TROUBLE,
} Verdict;

static bool is_of_one_repository(FailureClass class) {
        switch (class) {
        case FAILURE_FORBIDDEN:
        case FAILURE_BLOCKED:
        case FAILURE_RENAMED:
        case FAILURE_TOO_LARGE:
        case FAILURE_CORRUPT:
        case FAILURE_UNSUPPORTED:
                return true;
        default:
                return false;
        }
}

/* The network or the server, rather than what somebody may see there: any answer proves it over. */
static bool is_of_connection(FailureClass class) {
        switch (class) {
        case FAILURE_OFFLINE:
        case FAILURE_TIMEOUT:
        case FAILURE_RATE_LIMITED:
        case FAILURE_SERVER:
        case FAILURE_LOCAL:
                return true;
        default:
                return false;
        }
}

static Verdict judge(const OrgReport *report) {
        FailureClass class = report->failure ? report->failure->class : FAILURE_NONE;

        bool particular = report->from == ORG_REPORT_NAME && is_of_one_repository(class);

        if (report->result >= 0)
                return class == FAILURE_NONE || particular ? VERDICT_OK : VERDICT_NOTICE;
        if (report->result == -ECANCELED || class == FAILURE_CANCELLED || class == FAILURE_BUSY)
                return VERDICT_OK;
        if (report->result == -ENOENT && (report->from != ORG_REPORT_ROOT || !report->failure))
                return VERDICT_OK;
        return !report->failure || particular ? VERDICT_NONE : VERDICT_TROUBLE;
}

bool org_set_health(Org *org, const OrgReport *report) {
        Verdict verdict = judge(report);
        bool by_listing = report->from != ORG_REPORT_NAME;

        if (verdict == VERDICT_NONE)
                return false;
        MUTEX_GUARD(&org->lock);
        bool sticks = org->by_listing && !by_listing && !is_of_connection(org->failure.class);
        if (verdict == VERDICT_OK && sticks)
                return false;
        OrgHealth health = verdict == VERDICT_TROUBLE  ? ORG_HEALTH_FAILING
                           : verdict == VERDICT_NOTICE ? ORG_HEALTH_NOTICE
                                                       : ORG_HEALTH_OK;
        Failure failure = {0};
        if (verdict != VERDICT_OK)
                failure = *report->failure;
        bool changed = org->health != health || org->failure.class != failure.class ||
                       strcmp(org->failure.text, failure.text) != 0;
        org->health = health;
        org->failure = failure;
        org->by_listing = by_listing && verdict != VERDICT_OK;
        return changed;
}

typedef struct EachRepo {
        void (*fn)(Repo *repo, void *userdata);
        void *userdata;
} EachRepo;

static void visit_repos(Owner *owner, void *userdata) {
        const EachRepo *each = userdata;

        owner_each_repo(owner, each->fn, each->userdata);
}

void org_each_repo(Org *org, void (*fn)(Repo *repo, void *userdata), void *userdata) {
        EachRepo each = {.fn = fn, .userdata = userdata};

        owner_each(&org->root, visit_repos, &each);
}

static void count_repos(Owner *owner, void *userdata) {
        size_t *n = userdata;

        *n += owner_n_repos(owner);
}

size_t org_n_repos(Org *org) {
        size_t n = 0;

        owner_each(&org->root, count_repos, &n);
        return n;
}
