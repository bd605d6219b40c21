//! From .gitlab-ci.yml to jobs: parse, compile, schedule.
