#!/bin/sh
# Wakes tagship by a webhook: a CGI script for any web server (busybox httpd, lighttpd, nginx with fcgiwrap).
#
# A forge does not wait for a deployment. So every sender receives 202, also one with a wrong signature, and tagship
# works in the background and writes to syslog. It takes the signature or token from the variables HTTP_X_… that the
# server sets, and checks it against [settings.webhook].
#
# The server must run this script as the user that polls. With busybox:
#
#     install -D tagship.cgi /srv/hook/cgi-bin/tagship
#     busybox httpd -f -p 127.0.0.1:8090 -u tagship -h /srv/hook      # http://127.0.0.1:8090/cgi-bin/tagship
set -eu
body=$(mktemp)
head -c 1048577 > "$body" # tagship takes 1 MiB
exec 3< "$body"
rm "$body"
printf 'Status: 202 Accepted\r\nContent-Type: text/plain\r\n\r\naccepted\n'
{ tagship poll --from-webhook <&3 2>&1 | logger -t tagship; } > /dev/null 2>&1 &
