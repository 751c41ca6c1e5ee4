#!/bin/sh
# Stands for your `docker compose up`, `kubectl set image`, or whatever brings an image to a stage.
set -eu
echo "deploying $TAGSHIP_IMAGE to $TAGSHIP_TARGET"
echo "$TAGSHIP_TARGET $TAGSHIP_TAG" >> deployed.log
