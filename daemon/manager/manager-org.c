#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "forge/secret.h"
#include "manager/manager-private.h"
#include "tree/repo.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/path.h"

/* --- configuration files --- */

/* config: the user's or the system's directory. */
static char *org_path(const char *config, const char *name) {
        _cleanup_free_ char *file = NULL;

        if (asprintf(&file, "%s.conf", name) < 0) {
                file = NULL;
                return NULL;
        }
        return path_join(config, "orgs.d", file, NULL);
}

static void log_org_error(const ConfigError *error, void *userdata) {
        log_warning("%s, ignoring", error->text);
}

typedef struct OrgConfigs {
        OrgConfig **items;
        size_t n;
} OrgConfigs;

static void org_configs_done(OrgConfigs *list) {
        for (size_t i = 0; i < list->n; i++)
                org_config_free(list->items[i]);
        free(list->items);
}

static int load_configs(Manager *m, OrgConfigs *ret) {
        return org_config_load_all(
                m->system_config, m->config_home, log_org_error, m, &ret->items, &ret->n);
}

static void show_org(Manager *m, const OrgConfig *config) {
        Failure failure = {0};

        int r = ns_add_org(m->ns, config, &failure);
        if (r < 0)
                log_warning(
                        "Org \"%s\" is not shown: %s, ignoring",
                        config->name,
                        failure.text[0] ? failure.text : strerrordesc_np(-r));
}

int manager_load_orgs(Manager *m) {
        _cleanup_(org_configs_done) OrgConfigs list = {0};

        int r = load_configs(m, &list);
        if (r < 0) {
                log_error(
                        "Cannot read the orgs in \"%s\" and \"%s\": %s",
                        m->system_config,
                        m->config_home,
                        strerrordesc_np(-r));
                return r;
        }
        for (size_t i = 0; i < list.n; i++)
                show_org(m, list.items[i]);
        return 0;
}

static bool same_config(const OrgConfig *a, const OrgConfig *b) {
        _cleanup_buf_ Buf x = {0};
        _cleanup_buf_ Buf y = {0};

        /* Their text is compared: a field that is added later cannot be forgotten here. */
        return strcmp(a->name, b->name) == 0 && org_config_format(a, &x) >= 0 &&
               org_config_format(b, &y) >= 0 && x.len == y.len &&
               memcmp(x.data, y.data, x.len) == 0;
}

typedef struct Reload {
        Manager *manager;
        OrgConfigs *wanted;
} Reload;

static int drop_changed(Org *org, void *userdata) {
        const Reload *reload = userdata;

        for (size_t i = 0; i < reload->wanted->n; i++)
                if (same_config(org->config, reload->wanted->items[i]))
                        return 0;
        int r = ns_remove_org(reload->manager->ns, org->config->name);
        if (r >= 0 && reload->manager->observer.org_removed)
                reload->manager->observer.org_removed(
                        org->config->name, reload->manager->observer.userdata);
        return 0;
}

int manager_reload_orgs(Manager *m) {
        _cleanup_(org_configs_done) OrgConfigs list = {0};

        int r = load_configs(m, &list);
        if (r < 0)
                return r;
        Reload reload = {.manager = m, .wanted = &list};
        r = ns_each_org(m->ns, drop_changed, &reload);
        for (size_t i = 0; i < list.n; i++) {
                _cleanup_(org_unrefp) Org *there = ns_get_org(m->ns, list.items[i]->name);
                if (there)
                        continue;
                show_org(m, list.items[i]);
                if (m->observer.org_added)
                        m->observer.org_added(list.items[i]->name, m->observer.userdata);
        }
        return r;
}

/* --- adding and removing --- */

static int save_org(const Manager *m, const OrgConfig *config, Failure *ret_failure) {
        _cleanup_buf_ Buf text = {0};
        _cleanup_free_ char *path = org_path(m->config_home, config->name);

        if (!path)
                return -ENOMEM;
        int r = org_config_format(config, &text);
        return r < 0 ? r : write_own_file(path, text.data, text.len, ret_failure);
}

int manager_add_org(Manager *m, const OrgConfig *config, Failure *ret_failure) {
        ConfigError error;

        int r = org_config_check(config, &error);
        if (r < 0) {
                (void) failure_set(
                        ret_failure, FAILURE_LOCAL, "%s", error.text); /* r says the same */
                return r;
        }
        _cleanup_(org_unrefp) Org *there = ns_get_org(m->ns, config->name);
        if (there) {
                (void) failure_set(/* the errno is this one's */
                                   ret_failure,
                                   FAILURE_LOCAL,
                                   "an org named \"%s\" exists: choose another name, or remove it "
                                   "first",
                                   config->name);
                return -EEXIST;
        }
        r = ns_add_org(m->ns, config, ret_failure);
        if (r < 0)
                return r;
        r = save_org(m, config, ret_failure);
        if (r < 0) {
                (void) ns_remove_org(m->ns, config->name); /* it was added a moment ago */
                return r;
        }
        if (m->observer.org_added)
                m->observer.org_added(config->name, m->observer.userdata);
        return 0;
}

/* The name of nothing, as systemctl mask leaves it. */
static int hide_org(const char *path) {
        int r = mkdir_above(path, 0700);

        if (r < 0)
                return r;
        return symlink("/dev/null", path) < 0 ? -errno : 0;
}

/* So that it is gone at the next start too. */
static int forget_org(const Manager *m, const char *name, Failure *ret_failure) {
        _cleanup_free_ char *path = org_path(m->config_home, name);
        _cleanup_free_ char *of_system = org_path(m->system_config, name);

        if (!path || !of_system)
                return -ENOMEM;
        int r = unlink(path) < 0 && errno != ENOENT ? -errno : 0;
        if (r >= 0 && access(of_system, F_OK) == 0)
                r = hide_org(path);
        if (r < 0)
                (void) failure_set(/* r says the same */
                                   ret_failure,
                                   FAILURE_LOCAL,
                                   "cannot remove \"%s\": %s",
                                   path,
                                   strerrordesc_np(-r));
        return r;
}

int manager_remove_org(Manager *m, const char *name, Failure *ret_failure) {
        if (!name_is_valid(name)) {
                (void) failure_set(ret_failure, FAILURE_LOCAL, "\"%s\" is no name of an org", name);
                return -EINVAL;
        }
        int r = ns_remove_org(m->ns, name);
        if (r < 0) {
                (void) failure_set(
                        ret_failure,
                        FAILURE_NOT_FOUND,
                        "there is no org \"%s\": see gitfsctl org list",
                        name);
                return r;
        }
        r = forget_org(m, name, ret_failure);
        int k = secret_file_remove(m->config_home, name);
        if (k < 0 && r >= 0) {
                r = k;
                (void) failure_set(/* r says the same */
                                   ret_failure,
                                   FAILURE_LOCAL,
                                   "cannot remove the token of \"%s\": %s",
                                   name,
                                   strerrordesc_np(-r));
        }
        if (m->observer.org_removed)
                m->observer.org_removed(name, m->observer.userdata);
        return r;
}

/* --- looking --- */

typedef struct Count {
        unsigned n_repos, n_checkouts;
} Count;

static void count_repo(Repo *repo, void *userdata) {
        Count *count = userdata;

        count->n_checkouts += (unsigned) repo_n_checkouts(repo);
}

static void fill_info(Manager *m, Org *org, OrgInfo *ret) {
        Count count = {.n_repos = (unsigned) org_n_repos(org)};

        org_each_repo(org, count_repo, &count);
        *ret = (OrgInfo){
                .config = org->config,
                .poll_interval_usec = ns_poll_interval(m->ns, org),
                .n_repos = count.n_repos,
                .n_checkouts = count.n_checkouts,
        };
        MUTEX_GUARD(&org->lock);
        ret->state = org->health == ORG_HEALTH_FAILING    ? ORG_STATE_FAILING
                     : org->health == ORG_HEALTH_IDLE     ? ORG_STATE_IDLE
                     : org->failure.class != FAILURE_NONE ? ORG_STATE_NOTICE
                                                          : ORG_STATE_OK;
        ret->failure = org->failure;
}

typedef struct EachOrg {
        Manager *manager;
        int (*fn)(const OrgInfo *info, void *userdata);
        void *userdata;
} EachOrg;

static int each_org(Org *org, void *userdata) {
        const EachOrg *each = userdata;
        OrgInfo info;

        fill_info(each->manager, org, &info);
        return each->fn(&info, each->userdata);
}

int manager_each_org(Manager *m, int (*fn)(const OrgInfo *info, void *userdata), void *userdata) {
        EachOrg each = {.manager = m, .fn = fn, .userdata = userdata};

        return ns_each_org(m->ns, each_org, &each);
}

int manager_get_org(Manager *m, const char *name, OrgInfo *ret) {
        _cleanup_(org_unrefp) Org *org = ns_get_org(m->ns, name);
        if (!org)
                return 0;
        /* The configuration stays valid while this thread, the only one that removes orgs, has not
         * returned to its loop. */
        fill_info(m, org, ret);
        return 1;
}

/* --- news --- */

typedef struct OrgNews {
        MailboxItem item;
        Manager *manager;
        char name[];
} OrgNews;

static void org_news_main(MailboxItem *item) {
        OrgNews *news = container_of(item, OrgNews, item);
        Manager *m = news->manager;
        OrgInfo info;

        if (manager_get_org(m, news->name, &info) > 0) {
                const LogContext context = {.org = news->name};
                if (info.failure.class != FAILURE_NONE)
                        log_full(
                                info.state == ORG_STATE_FAILING ? LOG_WARNING : LOG_NOTICE,
                                &context,
                                info.state == ORG_STATE_FAILING ? "Request failed (%s): %s"
                                                                : "Not all can be shown (%s): %s",
                                failure_class_name(info.failure.class),
                                info.failure.text);
                if (m->observer.org_changed)
                        m->observer.org_changed(news->name, m->observer.userdata);
        }
        free(news);
}

static void org_changed(const char *org, void *userdata) {
        Manager *m = userdata;
        size_t len = strlen(org) + 1;

        OrgNews *news = calloc(1, sizeof(*news) + len);
        if (!news)
                return; /* the state itself is right, only the news of it is lost */
        news->item.run = org_news_main;
        news->manager = m;
        memcpy(news->name, org, len);
        manager_post(m, &news->item);
}

void manager_watch_orgs(Manager *m) {
        const NsOrgObserver observer = {.changed = org_changed, .userdata = m};

        ns_set_org_observer(m->ns, &observer);
}
