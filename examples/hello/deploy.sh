#!/bin/sh
set -e
echo "deploying $CI_COMMIT_SHORT_SHA to $CI_ENVIRONMENT_NAME"
