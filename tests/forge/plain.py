"""A server that knows nothing but git: an org of kind git, or the other host to which a redirect leads."""

import forge
import wire


class Plain(forge.Forge):
    kind = "git"
    server_name = "git"

    def api(self, request, person):
        return wire.Response(404, "Not found\n")

    def git_missing(self, request, person):
        return wire.Response(404, "Repository not found.\n")
