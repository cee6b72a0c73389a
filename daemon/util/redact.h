#pragma once

/* Overwrites, in place, whatever may be a secret in text that is about to be shown or logged: the
 * user information of every URL (scheme://user:token@host), and the value after "Authorization:",
 * "PRIVATE-TOKEN:", "password=" and "credential=", and words of the shape of a token of GitHub or
 * GitLab. Stars take its place; the text never grows. */
void redact_urls(char *text);
