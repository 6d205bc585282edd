# shellcheck shell=bash
# The options of every session that our own scripts open (PGOPTIONS). They win over ALTER DATABASE and ALTER ROLE, so
# nothing that a user may set decides which code our statements resolve to, load or run, or how long they take.
# Init scripts of users get none of them.
session_options='-c search_path=pg_catalog,pg_temp -c role=none'
session_options+=' -c session_preload_libraries= -c local_preload_libraries= -c event_triggers=off -c row_security=off'
session_options+=' -c default_transaction_read_only=off -c standard_conforming_strings=on'
session_options+=' -c statement_timeout=0 -c transaction_timeout=0 -c idle_session_timeout=0'
session_options+=' -c idle_in_transaction_session_timeout=0 -c lock_timeout=60000'
readonly session_options
