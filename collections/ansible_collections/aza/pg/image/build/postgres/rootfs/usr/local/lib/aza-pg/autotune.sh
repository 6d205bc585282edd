# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Generated from image/tuning.yml and module_utils/tuning/detect.sh; never edited.
#
#   autotune_detect        sets tune_memory_mb, tune_cpus, tune_disk_mb, tune_workload, tune_storage …
#   autotune_compute       sets tuned_SETTING for every setting
#   autotune_write FILE    writes them for postgresql.conf
#   autotune_explain       prints them with their rules on stderr
#
# Set before: tune_preload_workers, tune_pgdata and, on a standby, tune_minimum_SETTING.
# Variables that only the caller reads look unused here, and those that the caller sets look unset.
# shellcheck disable=SC2034,SC2154

_tune_least_memory=512 _tune_most_memory=67108864 _tune_most_cpus=1024
_tune_minimums=(minimum_max_connections minimum_max_worker_processes minimum_max_wal_senders minimum_max_prepared_transactions minimum_max_locks_per_transaction)
declare -A _tune_most=([preload_workers]=64 [minimum_max_connections]=262143 [minimum_max_worker_processes]=262143 [minimum_max_wal_senders]=262143 [minimum_max_prepared_transactions]=262143 [minimum_max_locks_per_transaction]=262143)
_tune_settings=(shared_buffers wal_buffers maintenance_work_mem autovacuum_work_mem autovacuum_max_workers io_workers max_connections work_mem hash_mem_multiplier max_parallel_workers max_parallel_workers_per_gather max_parallel_maintenance_workers max_worker_processes max_wal_senders max_replication_slots max_prepared_transactions max_locks_per_transaction effective_cache_size max_wal_size min_wal_size max_slot_wal_keep_size checkpoint_timeout checkpoint_completion_target wal_compression wal_level random_page_cost effective_io_concurrency maintenance_io_concurrency io_method default_statistics_target jit parallel_tuple_cost huge_pages)
_tune_why=(
  '25 % of memory, at most 32 GB'
  '1/32 of shared_buffers, 4 to 64 MB'
  '1/16 of memory (dw 1/8), at most 2 GB'
  '1/128 of memory, at most 256 MB'
  '3, and one more for every 4 cores and 8 GB, at most 10'
  '3, and one more for every 4 cores and 2 GB, at most 32'
  'by workload (web 200, oltp 300, dw 100, mixed 120), of it 20 % below 1 GB, 40 % below 2 GB, 70 % below 3 GB'
  'an equal share for every connection of what is left (dw a sixth of it), at most 32 MB'
  'PostgreSQL'\''s default of 2 (dw 1)'
  'one for each core, as far as memory holds them (one for 256 MB), at most 128'
  'half of the cores, at most 2 (mixed 4, dw 16)'
  'half of the cores, at least 1, at most 4 (dw 8)'
  'parallel workers + what the preloaded libraries start + 5 for logical replication, at least 8'
  'PostgreSQL'\''s default'
  'as many as max_wal_senders'
  'two-phase commit is off until it is asked for'
  '64, and 64 more for every 8 GB, at most 256'
  '75 % of memory'
  'web and mixed 4 GB, oltp 8 GB, dw 16 GB, but at most 10 % of the disk'
  'a quarter of max_wal_size'
  '25 % of the disk, at least twice max_wal_size'
  'three times PostgreSQL'\''s default'
  'PostgreSQL'\''s default'
  'full pages in the WAL are compressed'
  'replica, unless POSTGRES_WAL_LEVEL=logical'
  'ssd and san 1.1, hdd 4.0'
  'ssd 200, hdd 2, san 1'
  'ssd 200, hdd 10, san 16'
  'worker, unless POSTGRES_IO_METHOD says otherwise'
  '100 (dw 500)'
  'off (dw on)'
  'PostgreSQL'\''s default (dw 0.02)'
  'used where the host has some'
)
_tune_parts=(shared_buffers shared_structures wal_buffers connections background queries maintenance autovacuum os_reserve)

_tune_choices() {
  _tune_word tune_workload POSTGRES_WORKLOAD_TYPE web web oltp dw mixed
  _tune_word tune_storage POSTGRES_STORAGE_TYPE ssd ssd hdd san
  _tune_word tune_wal_level POSTGRES_WAL_LEVEL replica replica logical
  _tune_word tune_io_method POSTGRES_IO_METHOD worker worker io_uring sync auto
  _tune_io_auto=0
  if [[ $tune_io_method == auto ]]; then tune_io_method=worker _tune_io_auto=1; fi
}

# _tune_size VARIABLE KB: as a size, in MB where nothing is lost.
_tune_size() {
  local size="${2}kB"
  if (( $2 % 1024 == 0 )); then size="$(($2 / 1024))MB"; fi
  printf -v "$1" %s "$size"
}

_tune_rules() {
  local _t1 _t2 _t3 _t4 _t5
  _n_memory_mb=${tune_memory_mb:-0}
  _n_cpus=${tune_cpus:-0}
  _n_disk_mb=${tune_disk_mb:-0}
  _n_preload_workers=${tune_preload_workers:-0}
  _n_wal_segment_mb=${tune_wal_segment_mb:-16}
  _n_minimum_max_connections=${tune_minimum_max_connections:-0}
  _n_minimum_max_worker_processes=${tune_minimum_max_worker_processes:-0}
  _n_minimum_max_wal_senders=${tune_minimum_max_wal_senders:-0}
  _n_minimum_max_prepared_transactions=${tune_minimum_max_prepared_transactions:-0}
  _n_minimum_max_locks_per_transaction=${tune_minimum_max_locks_per_transaction:-0}
  case $tune_workload in
    web) _n_base_connections=200 _n_sessions_per_core=4 _n_nodes=1 _n_hash_multiplier=2 _n_maintenance_kb=64 _n_wal_mb=4096 _n_gather_cap=2 _n_index_cap=4 _n_statistics=100 _n_jit_word=off _n_tuple_cost=0.1 ;;
    oltp) _n_base_connections=300 _n_sessions_per_core=4 _n_nodes=1 _n_hash_multiplier=2 _n_maintenance_kb=64 _n_wal_mb=8192 _n_gather_cap=2 _n_index_cap=4 _n_statistics=100 _n_jit_word=off _n_tuple_cost=0.1 ;;
    dw) _n_base_connections=100 _n_sessions_per_core=2 _n_nodes=6 _n_hash_multiplier=1 _n_maintenance_kb=128 _n_wal_mb=16384 _n_gather_cap=16 _n_index_cap=8 _n_statistics=500 _n_jit_word=on _n_tuple_cost=0.02 ;;
    mixed) _n_base_connections=120 _n_sessions_per_core=3 _n_nodes=1 _n_hash_multiplier=2 _n_maintenance_kb=64 _n_wal_mb=4096 _n_gather_cap=4 _n_index_cap=4 _n_statistics=100 _n_jit_word=off _n_tuple_cost=0.1 ;;
  esac
  case $tune_storage in
    ssd) _n_random_cost=1.1 _n_io_depth=200 _n_maintenance_io_depth=200 ;;
    hdd) _n_random_cost=4.0 _n_io_depth=2 _n_maintenance_io_depth=10 ;;
    san) _n_random_cost=1.1 _n_io_depth=1 _n_maintenance_io_depth=16 ;;
  esac
  _n_shared_buffers=$((_t1 = (_n_memory_mb * 256), (_t1 < 33554432 ? _t1 : 33554432)))
  _tune_size tuned_shared_buffers $_n_shared_buffers
  _n_wal_buffers=$((_t1 = (_n_shared_buffers / 32), (_t1 < 4096 ? 4096 : _t1 > 65536 ? 65536 : _t1)))
  _tune_size tuned_wal_buffers $_n_wal_buffers
  _n_maintenance_work_mem=$((_t1 = (_n_memory_mb * _n_maintenance_kb), (_t1 < 2097152 ? _t1 : 2097152)))
  _tune_size tuned_maintenance_work_mem $_n_maintenance_work_mem
  _n_autovacuum_work_mem=$((_t1 = (_n_memory_mb * 8), (_t1 < 262144 ? _t1 : 262144)))
  _tune_size tuned_autovacuum_work_mem $_n_autovacuum_work_mem
  _n_autovacuum_max_workers=$((_t1 = (3 + (_n_cpus / 4)), _t2 = (3 + (_n_memory_mb / 8192)), _t3 = (_t1 < _t2 ? _t1 : _t2), (_t3 < 10 ? _t3 : 10)))
  tuned_autovacuum_max_workers=${_n_autovacuum_max_workers}
  _n_io_workers=$((_t1 = (3 + (_n_cpus / 4)), _t2 = (3 + (_n_memory_mb / 2048)), _t3 = (_t1 < _t2 ? _t1 : _t2), (_t3 < 32 ? _t3 : 32)))
  tuned_io_workers=${_n_io_workers}
  _n_os_reserve=$((_t1 = (_n_memory_mb * 64), (_t1 < 65536 ? 65536 : _t1 > 4194304 ? 4194304 : _t1)))
  _tune_size tuned_os_reserve $_n_os_reserve
  _n_connection_cost=$((2720 + ((_t1 = (_n_shared_buffers - 1048576), (0 > _t1 ? 0 : _t1)) / 512)))
  _tune_size tuned_connection_cost $_n_connection_cost
  _n_query_pool=$((((((((((((_n_memory_mb * 1024) - _n_shared_buffers) - _n_wal_buffers) - _n_maintenance_work_mem) - _n_os_reserve) - 12288) - ((_n_shared_buffers * 3) / 100)) - (((_n_autovacuum_work_mem + 1024) * (24576 + (_n_memory_mb < 57344 ? _n_memory_mb : 57344))) / 8192)) - ((16 + _n_preload_workers) * 1024)) - ((_n_memory_mb < 59392 ? _n_memory_mb : 59392) / 2)) - (((_n_memory_mb < 32768 ? _n_memory_mb : 32768) * _n_connection_cost) / 256)))
  _tune_size tuned_query_pool $_n_query_pool
  _n_max_connections=$((_t1 = ((_n_base_connections * ((_n_memory_mb < 1024) ? 20 : ((_n_memory_mb < 2048) ? 40 : ((_n_memory_mb < 3072) ? 70 : 100)))) / 100), (_t1 > _n_minimum_max_connections ? _t1 : _n_minimum_max_connections)))
  tuned_max_connections=${_n_max_connections}
  _n_connection_line=$((_t4 = (_n_base_connections * (_t1 = (_n_memory_mb * 40), _t2 = (10240 + (_n_memory_mb * 30)), _t3 = (_t1 < _t2 ? _t1 : _t2), (_t3 < 102400 ? _t3 : 102400))), _t5 = (_n_minimum_max_connections * 102400), (_t4 > _t5 ? _t4 : _t5)))
  tuned_connection_line=${_n_connection_line}
  _n_work_mem=$((_t1 = ((((_n_query_pool * 102400) / _n_connection_line) - _n_connection_cost) / _n_nodes), (_t1 < 64 ? 64 : _t1 > 32768 ? 32768 : _t1)))
  _tune_size tuned_work_mem $_n_work_mem
  _n_hash_mem_multiplier=$((_n_hash_multiplier))
  tuned_hash_mem_multiplier=${_n_hash_mem_multiplier}
  _n_working_processes=$(((_t1 = ((_n_query_pool - ((_n_base_connections > _n_minimum_max_connections ? _n_base_connections : _n_minimum_max_connections) * _n_connection_cost)) / 32768), (_n_max_connections > _t1 ? _n_max_connections : _t1)) / _n_hash_multiplier))
  tuned_working_processes=${_n_working_processes}
  _n_active_backends=$((_t1 = (_n_cpus * _n_sessions_per_core), _t2 = (_n_working_processes - (_n_working_processes / 2)), _t3 = (_t1 < _t2 ? _t1 : _t2), (_t3 < _n_max_connections ? _t3 : _n_max_connections)))
  tuned_active_backends=${_n_active_backends}
  _n_max_parallel_workers=$((_t1 = (_n_memory_mb / 256), _t3 = (_t2 = (_n_working_processes / 2), (_t2 > 1 ? _t2 : 1)), _t4 = (_n_cpus < _t1 ? _n_cpus : _t1), _t5 = (_t4 < 128 ? _t4 : 128), (_t5 < _t3 ? _t5 : _t3)))
  tuned_max_parallel_workers=${_n_max_parallel_workers}
  _n_max_parallel_workers_per_gather=$((_t1 = (_n_cpus / 2), _t2 = (_n_max_parallel_workers < _t1 ? _n_max_parallel_workers : _t1), (_t2 < _n_gather_cap ? _t2 : _n_gather_cap)))
  tuned_max_parallel_workers_per_gather=${_n_max_parallel_workers_per_gather}
  _n_max_parallel_maintenance_workers=$((_t2 = (_t1 = (_n_cpus / 2), (_t1 > 1 ? _t1 : 1)), _t3 = (_n_max_parallel_workers < _t2 ? _n_max_parallel_workers : _t2), (_t3 < _n_index_cap ? _t3 : _n_index_cap)))
  tuned_max_parallel_maintenance_workers=${_n_max_parallel_maintenance_workers}
  _n_max_worker_processes=$((_t2 = (_t1 = ((_n_max_parallel_workers + _n_preload_workers) + 5), (8 > _t1 ? 8 : _t1)), (_t2 > _n_minimum_max_worker_processes ? _t2 : _n_minimum_max_worker_processes)))
  tuned_max_worker_processes=${_n_max_worker_processes}
  _n_max_wal_senders=$((10 > _n_minimum_max_wal_senders ? 10 : _n_minimum_max_wal_senders))
  tuned_max_wal_senders=${_n_max_wal_senders}
  _n_max_replication_slots=$((10 > _n_max_wal_senders ? 10 : _n_max_wal_senders))
  tuned_max_replication_slots=${_n_max_replication_slots}
  _n_max_prepared_transactions=$((_n_minimum_max_prepared_transactions))
  tuned_max_prepared_transactions=${_n_max_prepared_transactions}
  _n_max_locks_per_transaction=$((_t2 = (64 * (1 + (_t1 = (_n_memory_mb / 8192), (_t1 < 3 ? _t1 : 3)))), (_t2 > _n_minimum_max_locks_per_transaction ? _t2 : _n_minimum_max_locks_per_transaction)))
  tuned_max_locks_per_transaction=${_n_max_locks_per_transaction}
  _n_effective_cache_size=$((_n_memory_mb * 768))
  _tune_size tuned_effective_cache_size $_n_effective_cache_size
  _n_max_wal_size=$((_t2 = ((_n_disk_mb == 0) ? 1024 : (_t1 = (_n_disk_mb / 10), (_n_wal_mb < _t1 ? _n_wal_mb : _t1))), _t3 = (_n_wal_segment_mb * 4), (_t2 > _t3 ? _t2 : _t3)))
  tuned_max_wal_size=${_n_max_wal_size}MB
  _n_min_wal_size=$((_t1 = (_n_max_wal_size / 4), _t2 = (_n_wal_segment_mb * 2), (_t1 > _t2 ? _t1 : _t2)))
  tuned_min_wal_size=${_n_min_wal_size}MB
  _n_max_slot_wal_keep_size=$((_t1 = ((_n_disk_mb == 0) ? 8192 : (_n_disk_mb / 4)), _t2 = (_n_max_wal_size * 2), (_t1 > _t2 ? _t1 : _t2)))
  tuned_max_slot_wal_keep_size=${_n_max_slot_wal_keep_size}MB
  tuned_checkpoint_timeout=15min
  tuned_checkpoint_completion_target=0.9
  tuned_wal_compression=lz4
  tuned_wal_level=$tune_wal_level
  tuned_random_page_cost=$_n_random_cost
  _n_effective_io_concurrency=$((_n_io_depth))
  tuned_effective_io_concurrency=${_n_effective_io_concurrency}
  _n_maintenance_io_concurrency=$((_n_maintenance_io_depth))
  tuned_maintenance_io_concurrency=${_n_maintenance_io_concurrency}
  tuned_io_method=$tune_io_method
  _n_default_statistics_target=$((_n_statistics))
  tuned_default_statistics_target=${_n_default_statistics_target}
  tuned_jit=$_n_jit_word
  tuned_parallel_tuple_cost=$_n_tuple_cost
  tuned_huge_pages=try
  _n_shm_size_mb=$((_t1 = (64 + ((((_n_max_parallel_workers * 4) * _n_work_mem) / 1024) * _n_hash_mem_multiplier)), _t2 = (_n_memory_mb / 2), (_t1 < 128 ? 128 : _t1 > _t2 ? _t2 : _t1)))
  tuned_shm_size_mb=${_n_shm_size_mb}MB
  _tune_part_kb=(
    $((_n_shared_buffers))
    $(((12288 + ((_n_shared_buffers * 3) / 100)) + ((_n_max_connections + _n_max_prepared_transactions) * (50 + ((_n_max_locks_per_transaction * 43) / 100)))))
    $((_n_wal_buffers))
    $((_n_max_connections * (_n_connection_cost - 160)))
    $((((((13 + _n_io_workers) + _n_autovacuum_max_workers) + _n_preload_workers) * 1024) + (_n_max_parallel_workers * _n_connection_cost)))
    $((((_n_active_backends + _n_max_parallel_workers) * _n_work_mem) * _n_hash_mem_multiplier))
    $((_n_maintenance_work_mem))
    $((_n_autovacuum_work_mem * _n_autovacuum_max_workers))
    $((_n_os_reserve))
  )
  _tune_budget=$((_tune_part_kb[0] + _tune_part_kb[1] + _tune_part_kb[2] + _tune_part_kb[3] + _tune_part_kb[4] + _tune_part_kb[5] + _tune_part_kb[6] + _tune_part_kb[7] + _tune_part_kb[8]))
  _tune_exposure=$(((_n_max_connections * _n_work_mem) * _n_nodes + _tune_part_kb[0] + _tune_part_kb[1] + _tune_part_kb[2] + _tune_part_kb[3] + _tune_part_kb[4] + _tune_part_kb[6] + _tune_part_kb[7] + _tune_part_kb[8]))
}

# How much memory, how many cores, how large a disk: read from what the kernel shows, without starting a process
# (but for one stat of the disk). Every error is one sentence on stderr and exit code 78 (EX_CONFIG).
# Works under set -Eeuo pipefail. Helpers that set a variable of the caller's choice have locals with two underscores,
# because bash would find theirs first.
# Tests point AZA_CGROUP_ROOT, AZA_PROC_ROOT and AZA_SYS_ROOT at trees of their own.

_tune_fail() {
  printf 'aza-pg: %s\n' "$1" >&2
  exit 78
}

_tune_warn() {
  printf 'aza-pg: warning: %s\n' "$1" >&2
}

# _tune_refuse NAME TEXT WHY: what was given, made printable, and why it cannot be used.
_tune_refuse() {
  local LC_ALL=C text=${2//[^[:print:]]/?}
  if (( ${#text} > 40 )); then text=${text:0:40}…; fi
  _tune_fail "$1 is '$text'$3"
}

# _tune_trim VARIABLE TEXT: without the blanks around it.
_tune_trim() {
  local LC_ALL=C __text=$2
  __text=${__text#"${__text%%[![:space:]]*}"}
  printf -v "$1" '%s' "${__text%"${__text##*[![:space:]]}"}"
}

# _tune_unzero VARIABLE DIGITS: without leading zeros, which bash would take for octal; empty for nought.
_tune_unzero() {
  printf -v "$1" '%s' "${2#"${2%%[!0]*}"}"
}

# _tune_parse_memory NAME TEXT: sets _tune_parsed to MB.
_tune_parse_memory() {
  local LC_ALL=C name=$1 given=$2 text digits factor most
  local forms='write megabytes (2048) or a number with a unit (512MB, 2g, 1TiB)'
  _tune_trim text "$given"
  text=${text,,}
  if ! [[ $text =~ ^([0-9]+)[[:space:]]*(([kmgt])(i?b)?|b)?$ ]]; then
    if [[ $text == -* ]]; then
      _tune_refuse "$name" "$given" ", but a size cannot be negative; $forms"
    elif [[ $text =~ ^[0-9]*\.[0-9]+[[:space:]]*[a-z]*$ ]]; then
      _tune_refuse "$name" "$given" '; fractions are not understood: write 1536MB for one and a half GB'
    fi
    _tune_refuse "$name" "$given" ", which is not a size; $forms"
  fi
  case ${BASH_REMATCH[2]} in
    b) factor=-1048576 most=$((_tune_most_memory * 1048576)) ;;
    k*) factor=-1024 most=$((_tune_most_memory * 1024)) ;;
    '' | m*) factor=1 most=$_tune_most_memory ;;
    g*) factor=1024 most=$((_tune_most_memory / 1024)) ;;
    t*) factor=1048576 most=$((_tune_most_memory / 1048576)) ;;
  esac
  _tune_unzero digits "${BASH_REMATCH[1]}"
  if [[ -z $digits ]]; then
    _tune_refuse "$name" "$given" ", which is no memory at all; write at least $_tune_least_memory (MB), or leave it out to use the container's limit"
  fi
  if (( ${#digits} > 15 || digits > most )); then
    _tune_refuse "$name" "$given" ', which is more than any machine has (64 TiB); check the number and its unit'
  fi
  _tune_parsed=$((factor > 0 ? digits * factor : digits / -factor))
  if (( _tune_parsed < _tune_least_memory )); then
    _tune_refuse "$name" "$given" ", that is $_tune_parsed MB, and at least $_tune_least_memory MB are needed; write $_tune_least_memory or more, or set POSTGRES_AUTOTUNE=off for PostgreSQL's own settings"
  fi
}

# _tune_parse_cpus NAME TEXT: sets _tune_parsed to whole cores; a part of a core counts as one.
_tune_parse_cpus() {
  local LC_ALL=C text digits part=0
  _tune_trim text "$2"
  [[ $text =~ ^([0-9]+)(\.([0-9]+))?$ ]] ||
    _tune_refuse "$1" "$2" ', which is not a number of cores; write 2 or 1.5'
  if [[ ${BASH_REMATCH[3]} == *[1-9]* ]]; then part=1; fi
  _tune_unzero digits "${BASH_REMATCH[1]}"
  if (( ${#digits} > 15 || ${digits:-0} + part > _tune_most_cpus )); then
    _tune_refuse "$1" "$2" "; at most $_tune_most_cpus cores are understood"
  fi
  _tune_parsed=$((${digits:-0} + part))
  if (( _tune_parsed == 0 )); then
    _tune_refuse "$1" "$2" ', which is no core at all; write 2 or 0.5'
  fi
}

# _tune_parse_word NAME TEXT WORD...: sets _tune_parsed to the word that is meant, in any case of letters.
_tune_parse_word() {
  local LC_ALL=C name=$1 given=$2 text word list=
  _tune_trim text "$given"
  shift 2
  for word; do
    if [[ ${text,,} == "$word" ]]; then
      _tune_parsed=$word
      return 0
    fi
  done
  word=${*: -1}
  list=${*:1:$#-1}
  _tune_refuse "$name" "$given" "; choose ${list// /, } or $word"
}

# _tune_word VARIABLE NAME DEFAULT WORD...: VARIABLE becomes what the environment's NAME says, or the default.
_tune_word() {
  local variable=$1 name=$2 default=$3 blank
  _tune_trim blank "${!name-}"
  if [[ -z $blank ]]; then
    printf -v "$variable" '%s' "$default"
    return 0
  fi
  shift 3
  _tune_parse_word "$name" "${!name}" "$@"
  printf -v "$variable" '%s' "$_tune_parsed"
}

# _tune_read VARIABLE FILE: the first line of a file; false when there is none.
_tune_read() {
  local __line=
  if [[ ! -r $2 ]]; then return 1; fi
  { IFS= read -r __line || [[ -n $__line ]]; } 2>/dev/null <"$2" || return 1
  printf -v "$1" '%s' "$__line"
}

# _tune_number VARIABLE TEXT: true for a decimal number that is small enough to be meant (below a petabyte).
_tune_number() {
  local __digits
  [[ $2 =~ ^[0-9]+$ ]] || return 1
  _tune_unzero __digits "$2"
  (( ${#__digits} <= 15 )) || return 1
  printf -v "$1" '%s' "${__digits:-0}"
}

# _tune_dirs_of ROOT PATH: _tune_dirs becomes the group's directory and all above it, as far as they can be seen.
_tune_dirs_of() {
  local path=$2
  _tune_dirs=()
  if [[ $path == *..* ]]; then path=; fi
  while [[ -n $path && $path != / ]]; do
    if [[ -d $1$path ]]; then _tune_dirs+=("$1$path"); fi
    path=${path%/*}
  done
  _tune_dirs+=("$1")
}

# Where this process stands in the control groups: _tune_group_v2, _tune_group_memory, _tune_group_cpu (v1).
_tune_groups() {
  local id controllers path
  _tune_group_v2='' _tune_group_memory='' _tune_group_cpu='' _tune_dir_cpu=cpu
  if [[ ! -r $_tune_proc/self/cgroup ]]; then return 0; fi
  while IFS=: read -r id controllers path; do
    case ,$controllers, in
      ,,) if [[ $id == 0 ]]; then _tune_group_v2=$path; fi ;;
      *,memory,*) _tune_group_memory=$path ;;
      *,cpu,*)
        _tune_group_cpu=$path
        if [[ -d $_tune_cgroup/$controllers ]]; then _tune_dir_cpu=$controllers; fi
        ;;
    esac
  done <"$_tune_proc/self/cgroup"
}

# _tune_least FILE...: lowers _tune_limit to the least number in these files; false when there is none.
_tune_least() {
  local file text number found=1
  for file; do
    if _tune_read text "$file" && _tune_number number "$text"; then
      if [[ -z $_tune_limit ]] || (( number < _tune_limit )); then _tune_limit=$number; fi
      found=0
    fi
  done
  return $found
}

# Sets _tune_limit (bytes) and _tune_limit_source, or leaves them empty: no limit.
_tune_memory_limit() {
  local key value number
  _tune_limit='' _tune_limit_source=''
  _tune_dirs_of "$_tune_cgroup" "$_tune_group_v2"
  if _tune_least "${_tune_dirs[@]/%//memory.max}"; then
    _tune_limit_source='cgroup v2 limit'
    return 0
  fi
  _tune_dirs_of "$_tune_cgroup/memory" "$_tune_group_memory"
  if _tune_least "${_tune_dirs[@]/%//memory.limit_in_bytes}"; then _tune_limit_source='cgroup v1 limit'; fi
  # Groups above the container's cannot be seen from inside; the kernel tells the least of them here.
  if [[ -r ${_tune_dirs[0]}/memory.stat ]]; then
    while read -r key value; do
      if [[ $key != hierarchical_memory_limit ]]; then continue; fi
      if _tune_number number "$value" && { [[ -z $_tune_limit ]] || (( number < _tune_limit )); }; then
        _tune_limit=$number _tune_limit_source='cgroup v1 limit'
      fi
      break
    done <"${_tune_dirs[0]}/memory.stat"
  fi
}

# Sets _tune_physical to the machine's memory in MB, or to nothing.
_tune_machine() {
  local key value number _
  _tune_physical=
  if [[ ! -r $_tune_proc/meminfo ]]; then return 0; fi
  while read -r key value _; do
    if [[ $key == MemTotal: ]]; then
      if _tune_number number "$value"; then _tune_physical=$((number / 1024)); fi
      break
    fi
  done <"$_tune_proc/meminfo"
}

_tune_detect_memory() {
  local blank limit=
  _tune_machine
  _tune_memory_limit
  if [[ -n $_tune_limit ]]; then limit=$((_tune_limit / 1048576)); fi
  _tune_trim blank "${POSTGRES_MEMORY-}"
  if [[ -n $blank ]]; then
    _tune_parse_memory POSTGRES_MEMORY "$POSTGRES_MEMORY"
    tune_memory_mb=$_tune_parsed tune_memory_source=POSTGRES_MEMORY
    if [[ -n $_tune_physical ]] && (( tune_memory_mb > _tune_physical )); then
      _tune_warn "POSTGRES_MEMORY is $tune_memory_mb MB, but this machine has $_tune_physical MB; the kernel may kill PostgreSQL"
    elif [[ -n $limit ]] && (( tune_memory_mb > limit )); then
      _tune_warn "POSTGRES_MEMORY is $tune_memory_mb MB, but the container's limit is $limit MB; the kernel may kill PostgreSQL"
    fi
    return 0
  fi
  if [[ -n $limit ]] && { [[ -z $_tune_physical ]] || (( limit <= _tune_physical )); }; then
    tune_memory_mb=$limit tune_memory_source=$_tune_limit_source
  elif [[ -n $_tune_physical ]]; then
    tune_memory_mb=$_tune_physical tune_memory_source='machine, no limit'
    _tune_warn "the container has no memory limit below the machine's $_tune_physical MB, so PostgreSQL is tuned to all of it; set a limit (docker run -m 2g) or POSTGRES_MEMORY"
  else
    _tune_fail "the memory cannot be found out: there is no cgroup limit and no $_tune_proc/meminfo; set POSTGRES_MEMORY"
  fi
  if (( tune_memory_mb < _tune_least_memory )); then
    _tune_fail "there are $tune_memory_mb MB of memory ($tune_memory_source), and at least $_tune_least_memory MB are needed; give the container more (docker run -m ${_tune_least_memory}m), or set POSTGRES_AUTOTUNE=off for PostgreSQL's own settings"
  fi
  if (( tune_memory_mb > _tune_most_memory )); then tune_memory_mb=$_tune_most_memory; fi
}

# _tune_overlap LIST LIST: _tune_count becomes the number of cores that stand in both ("0-3,8" and "0-7": 4).
_tune_overlap() {
  local first second low high
  local -a left right
  IFS=, read -r -a left <<<"$1"
  IFS=, read -r -a right <<<"$2"
  _tune_count=0
  for first in "${left[@]}"; do
    if ! [[ $first =~ ^[0-9]{1,6}(-[0-9]{1,6})?$ ]]; then continue; fi
    for second in "${right[@]}"; do
      if ! [[ $second =~ ^[0-9]{1,6}(-[0-9]{1,6})?$ ]]; then continue; fi
      low=$((10#${first%-*} > 10#${second%-*} ? 10#${first%-*} : 10#${second%-*}))
      high=$((10#${first#*-} < 10#${second#*-} ? 10#${first#*-} : 10#${second#*-}))
      if (( high >= low )); then _tune_count=$((_tune_count + high - low + 1)); fi
    done
  done
}

# _tune_quota QUOTA PERIOD SOURCE: lowers tune_cpus to a quota, a part of a core counted as one.
_tune_quota() {
  local quota period cores
  _tune_number quota "$1" && _tune_number period "$2" || return 0
  if (( quota == 0 || period == 0 )); then return 0; fi
  cores=$(((quota + period - 1) / period))
  if (( cores < tune_cpus )); then tune_cpus=$cores tune_cpus_source=$3; fi
}

_tune_detect_cpus() {
  local blank key value online allowed='' text quota period dir
  _tune_trim blank "${POSTGRES_CPUS-}"
  if [[ -n $blank ]]; then
    _tune_parse_cpus POSTGRES_CPUS "$POSTGRES_CPUS"
    tune_cpus=$_tune_parsed tune_cpus_source=POSTGRES_CPUS
    return 0
  fi
  if [[ -r $_tune_proc/self/status ]]; then
    while read -r key value; do
      if [[ $key == Cpus_allowed_list: ]]; then
        allowed=$value
        break
      fi
    done <"$_tune_proc/self/status"
  fi
  _tune_read online "$_tune_sys/devices/system/cpu/online" || online=$allowed
  _tune_overlap "${online:-0}" "${online:-0}"
  tune_cpus=$_tune_count tune_cpus_source='machine, no limit'
  _tune_overlap "${allowed:-$online}" "${online:-0}"
  if (( _tune_count > 0 && _tune_count < tune_cpus )); then tune_cpus=$_tune_count tune_cpus_source=cpuset; fi
  if (( tune_cpus > _tune_most_cpus )); then tune_cpus=$_tune_most_cpus; fi
  if (( tune_cpus < 1 )); then tune_cpus=1; fi
  _tune_dirs_of "$_tune_cgroup" "$_tune_group_v2"
  for dir in "${_tune_dirs[@]}"; do
    if _tune_read text "$dir/cpu.max"; then _tune_quota "${text%% *}" "${text#* }" 'cgroup v2 quota'; fi
  done
  _tune_dirs_of "$_tune_cgroup/$_tune_dir_cpu" "$_tune_group_cpu"
  for dir in "${_tune_dirs[@]}"; do
    if _tune_read quota "$dir/cpu.cfs_quota_us" && _tune_read period "$dir/cpu.cfs_period_us"; then
      _tune_quota "$quota" "$period" 'cgroup v1 quota'
    fi
  done
}

# The file system of the WAL, else of the data, else of the nearest directory that exists.
_tune_detect_disk() {
  local dir=${tune_pgdata:-/var/lib/postgresql} blocks size
  if [[ -n ${tune_disk_mb-} ]]; then
    tune_disk_source=${tune_disk_source:-given}
    return 0
  fi
  if [[ -d $dir/pg_wal ]]; then
    dir=$dir/pg_wal
  elif [[ -d ${POSTGRES_INITDB_WALDIR-} ]]; then
    dir=$POSTGRES_INITDB_WALDIR
  fi
  while [[ ! -d $dir && $dir == */* ]]; do dir=${dir%/*}; done
  tune_disk_mb=0 tune_disk_source='not known'
  # Not from a process of its own (< <(stat …)), which might outlive us, with whatever the caller holds open.
  if read -r size blocks <<<"$(stat -f -c '%S %b' -- "${dir:-/}" 2>/dev/null)" &&
    _tune_number size "$size" && _tune_number blocks "$blocks"; then
    # Not blocks × size / MB: the product may leave 64 bits. Blocks of a MB and more are nowhere in use.
    tune_disk_mb=$((size > 0 && size <= 1048576 ? blocks / (1048576 / size) : 0))
    tune_disk_source=${dir:-/}
  fi
}

# _tune_whole NAME MOST: a variable that the caller sets, a whole number or empty for 0.
_tune_whole() {
  local number
  if ! _tune_number number "${!1:-0}" || (( number > $2 )); then
    _tune_fail "$1 is '${!1}'; a whole number from 0 to $2 is expected"
  fi
  printf -v "$1" '%s' "$number"
}

autotune_detect() {
  _tune_cgroup=${AZA_CGROUP_ROOT:-/sys/fs/cgroup}
  _tune_proc=${AZA_PROC_ROOT:-/proc}
  _tune_sys=${AZA_SYS_ROOT:-/sys}
  local LC_ALL=C name
  _tune_choices
  _tune_groups
  _tune_detect_memory
  _tune_detect_cpus
  _tune_detect_disk
  tune_wal_segment_mb=${tune_wal_segment_mb:-16}
  if [[ ${POSTGRES_INITDB_ARGS-} =~ --wal-segsize[=\ ]+0*([1-9][0-9]{0,3})([[:space:]]|$) ]]; then
    tune_wal_segment_mb=${BASH_REMATCH[1]}
  fi
  for name in preload_workers "${_tune_minimums[@]}"; do _tune_whole "tune_$name" "${_tune_most[$name]}"; done
}

# True when this container lets a server of this size use io_uring. Asked for by POSTGRES_IO_METHOD only.
_tune_io_uring_works() {
  local dir=${TMPDIR:-/tmp}/aza-pg-io.$$ works=1 version
  # --check makes shared memory and the rings, as a start does, and ends. It wants what looks like a data directory.
  mkdir -m 700 -- "$dir" && mkdir -m 700 -- "$dir/pg_notify" || return 1
  read -r _ _ version _ <<<"$(postgres --version)"
  printf '%s\n' "${version%%[!0-9]*}" >"$dir/PG_VERSION"
  : >"$dir/postgresql.conf"
  if postgres --check -D "$dir" -c io_method=io_uring -c shared_buffers=1MB -c huge_pages=off \
    -c max_connections="$tuned_max_connections" -c max_worker_processes="$tuned_max_worker_processes" \
    -c max_wal_senders="$tuned_max_wal_senders" >/dev/null 2>&1; then
    works=0
  fi
  rm -rf -- "$dir"
  return $works
}

autotune_compute() {
  local LC_ALL=C
  _tune_rules
  if [[ $tuned_io_method != io_uring && $_tune_io_auto == 0 ]]; then return 0; fi
  if _tune_io_uring_works; then
    tuned_io_method=io_uring
  elif [[ $_tune_io_auto == 1 ]]; then
    _tune_warn 'io_uring does not work in this container, so io_method stays worker'
  else
    _tune_fail "POSTGRES_IO_METHOD is 'io_uring', but it does not work in this container (seccomp profile, memlock limit or kernel.io_uring_disabled); allow it there, or choose worker or auto"
  fi
}

# autotune_write FILE: the settings in the syntax of postgresql.conf.
autotune_write() {
  local name value
  {
    printf '# Written at every start by auto-configuration; what is set after this line wins.\n'
    for name in "${_tune_settings[@]}"; do
      value=tuned_$name
      printf "%s = '%s'\n" "$name" "${!value}"
    done
  } >"$1"
}

# One block on stderr: what was found, each value with its rule, and the memory budget.
autotune_explain() {
  local index name value block line parts='' budget=$((_tune_budget / 1024)) exposure=$((_tune_exposure / 1024))
  printf -v block 'aza-pg: tuned to %s MB of memory (%s), %s cores (%s), disk of %s MB (%s), workload %s, storage %s\n' \
    "$tune_memory_mb" "$tune_memory_source" "$tune_cpus" "$tune_cpus_source" "$tune_disk_mb" "$tune_disk_source" \
    "$tune_workload" "$tune_storage"
  for index in "${!_tune_settings[@]}"; do
    name=${_tune_settings[index]}
    value=tuned_$name
    printf -v line '  %-32s %-10s %s\n' "$name" "${!value}" "${_tune_why[index]}"
    block+=$line
  done
  for index in "${!_tune_parts[@]}"; do
    parts+="${parts:+, }${_tune_parts[index]} $((_tune_part_kb[index] / 1024))"
  done
  printf -v line '  memory budget: %s of %s MB (%s %%) = %s\n  if every connection sorted at once: %s %%\n  %s\n' \
    "$budget" "$tune_memory_mb" $((budget * 100 / tune_memory_mb)) "$parts" $((exposure * 100 / tune_memory_mb)) \
    'Your own settings (conf.d, ALTER SYSTEM, -c) win over these; POSTGRES_AUTOTUNE=off leaves them all out.'
  printf '%s' "$block$line" >&2
  if (( exposure > tune_memory_mb || budget > tune_memory_mb )); then
    _tune_warn "what the primary demands of its standbys does not fit $tune_memory_mb MB when all of it is used; give this host as much memory as the primary has"
  fi
}
