//! `RabbitMQ`'s keys of things that are not there.

/// Keys without effect, and why.
pub(super) struct Ignored {
    /// Why, behind `no effect, as`.
    pub(super) because: &'static str,
    /// Patterns as in the table of settings; `**` at the end stands for any number of words.
    pub(super) keys: &'static [&'static str],
}

pub(super) const IGNORED: &[Ignored] = &[
    Ignored {
        because: "backlogs go to disk by themselves, and nobody is blocked for lack of memory: see leveret.memory_budget",
        keys: &[
            "vm_memory_high_watermark",
            "vm_memory_high_watermark.**",
            "vm_memory_high_watermark_paging_ratio",
            "vm_memory_calculation_strategy",
            "memory_monitor_interval",
            "total_memory_available_override_value",
        ],
    },
    Ignored {
        because: "publishers are held up when the disk is full, and not before",
        keys: &["disk_free_limit.**", "disk_monitor.**"],
    },
    Ignored {
        because: "there is no clustering yet",
        keys: &[
            "cluster_formation.**",
            "cluster_partition_handling",
            "cluster_partition_handling.**",
            "cluster_keepalive_interval",
            "cluster_tags.**",
            "node_tags.**",
            "aws.**",
            "mirroring_sync_batch_size",
            "mirroring_sync_max_throughput",
            "queue_leader_locator",
            "queue_master_locator",
            "quorum_queue.**",
            "raft.**",
            "delegate_count",
            "forced_feature_flags_on_init",
        ],
    },
    Ignored { because: "there are no streams yet", keys: &["stream.**"] },
    Ignored { because: "there is no MQTT yet", keys: &["mqtt.**", "web_mqtt.**"] },
    Ignored { because: "there is no STOMP yet", keys: &["stomp.**", "web_stomp.**"] },
    Ignored {
        because: "there is no AMQP 1.0 yet",
        keys: &["amqp1_0.**", "amqp.**", "session_max_per_connection", "link_max_per_session"],
    },
    Ignored {
        because: "the metrics do not have it",
        keys: &[
            "prometheus.filter_aggregated_queue_metrics_pattern",
            "prometheus.(tcp|ssl).(compress|inactivity_timeout|request_timeout|shutdown_timeout|max_keepalive)",
            "prometheus.ssl.(backlog|honor_ecc_order|reuse_sessions|crl_check|dh|dhfile|log_alert|psk_identity|cert)",
        ],
    },
    Ignored { because: "there are no shovels and no federation yet", keys: &["shovel.**", "federation.**"] },
    Ignored { because: "files of traces are in the folder traces of the data folder", keys: &["tracing.**"] },
    Ignored { because: "there is no such plugin", keys: &["trust_store.**", "http_dispatch.**", "web_dispatch.**"] },
    Ignored {
        because: "there is no log but to files, the console and an exchange",
        keys: &[
            "log.syslog",
            "log.syslog.**",
            "log.journald",
            "log.journald.**",
            "log.prelaunch.**",
            "log.error_logger.**",
        ],
    },
    Ignored {
        because: "the management interface does not have it",
        keys: &[
            "management.rates_mode",
            "management.sample_retention_policies.**",
            "management.enable_uaa",
            "management.uaa_client_id",
            "management.uaa_location",
            "management.login_session_timeout",
            "management.db_cache_multiplier",
            "management.http_log_dir",
            "management.process_stats_gc_timeout",
            "management.restrictions.**",
            "management.oauth_**",
            "management.extra_definitions_import_timeout",
            "management.delegate_count",
            "management.(tcp|ssl|listener.server).(compress|inactivity_timeout|request_timeout|shutdown_timeout|max_keepalive)",
            "management.ssl.backlog",
            "management.(ssl|listener.ssl_opts).(honor_ecc_order|reuse_sessions|crl_check|dh|dhfile|log_alert|psk_identity|cert)",
            "management.listener.ssl_opts.(cacerts|key).**",
            "management.listener.ssl_opts",
            "management_agent.**",
        ],
    },
    Ignored {
        because: "TLS does without",
        keys: &[
            "ssl_options",
            "ssl_options.(cert|crl_check|dh|dhfile|honor_ecc_order|log_level|log_alert|psk_identity|reuse_sessions|bypass_pem_cache)",
            "ssl_options.(cacerts|key).**",
            "ssl_allow_poodle_attack",
            "(auth_ldap|auth_http).ssl_options",
            "(auth_ldap|auth_http).ssl_options.(cert|crl_check|dh|dhfile|honor_cipher_order|honor_ecc_order|log_alert|psk_identity|reuse_sessions|secure_renegotiate|client_renegotiation|password)",
            "(auth_ldap|auth_http).ssl_options.(cacerts|key).**",
            "definitions.tls.**",
            "auth_oauth2.https.crl_check",
            "auth_oauth2.oauth_providers.$id.https.crl_check",
        ],
    },
    Ignored { because: "a login has handshake_timeout for all of it", keys: &["ssl_handshake_timeout"] },
    Ignored {
        because: "these options of sockets are not for us to set",
        keys: &[
            "tcp_listen_options",
            "tcp_listen_options.(buffer|delay_send|dontroute|exit_on_close|fd|high_msgq_watermark|high_watermark|low_msgq_watermark|low_watermark|port|priority|send_timeout|send_timeout_close|tos)",
        ],
    },
    Ignored {
        because: "consumers have all the time they want unless a queue or a policy says otherwise",
        keys: &["consumer_timeout", "consumer_disconnected_timeout"],
    },
    Ignored {
        because: "a vhost says which type its queues have: see `rabbitmqctl update_vhost_metadata --default-queue-type`",
        keys: &["default_queue_type"],
    },
    Ignored {
        because: "limits are set of each vhost and each user",
        keys: &["default_limits.**", "runtime_parameters.limits.**", "default_users.**", "default_policies.**"],
    },
    Ignored { because: "passwords are taken as they are", keys: &["credential_validator.**"] },
    Ignored { because: "queues and exchanges of all types are there", keys: &["queue_types.**", "exchange_types.**"] },
    Ignored { because: "nothing is refused for being deprecated", keys: &["deprecated_features.**"] },
    Ignored { because: "clients are shown by their addresses only", keys: &["reverse_dns_lookups"] },
    Ignored { because: "messages are left as publishers made them", keys: &["message_interceptors.**"] },
    Ignored { because: "definitions are read from files", keys: &["definitions.https.url"] },
    Ignored {
        because: "there is no Erlang",
        keys: &[
            "erlang.**",
            "net_ticktime",
            "distribution.**",
            "sysmon_handler.**",
            "hipe_compile",
            "background_gc_enabled",
            "background_gc_target_interval",
            "default_worker_pool_size",
            "num_acceptors.**",
            "socket_writer.**",
            "mnesia_table_loading_retry_timeout",
            "mnesia_table_loading_retry_limit",
            "metadata_store.**",
            "khepri.**",
            "message_store_shutdown_timeout",
            "msg_store_**",
            "queue_index_embed_msgs_below",
            "queue_index_max_journal_entries",
            "classic_queue.**",
            "vhost_restart_strategy",
            "collect_statistics",
            "collect_statistics_interval",
            "initial_frame_max",
            "motd_file",
            "tracked_connection_**",
            "auth_cache.cache_module",
            "auth_ldap.servers",
            "credentials_obfuscation_fallback_secret",
        ],
    },
];

/// The group with this key, by its number.
pub(super) fn find(key: &[String]) -> Option<usize> {
    IGNORED.iter().position(|group| group.keys.iter().any(|pattern| fits(pattern, key)))
}

fn fits(pattern: &str, key: &[String]) -> bool {
    if let Some(stem) = pattern.strip_suffix(".**") {
        let words = (1..key.len()).filter_map(|count| key.get(..count));
        return words.into_iter().any(|words| super::matches(stem, words).is_some());
    }
    if let Some(stem) = pattern.strip_suffix("**") {
        return super::super::file::show(key).starts_with(stem);
    }
    super::matches(pattern, key).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_keys() {
        for (pattern, key, expected) in [
            ("a.**", "a.b", true),
            ("a.**", "a.b.c", true),
            ("a.**", "a", false),
            ("a.**", "ab.c", false),
            ("a.b_**", "a.b_c.d", true),
            ("a.b_**", "a.c", false),
            ("(a|b).d.**", "b.d.e", true),
            ("(a|b.c).(d|e)", "b.c.e", true),
            ("(a|b.c).(d|e)", "b.c", false),
        ] {
            let key: Vec<_> = key.split('.').map(ToOwned::to_owned).collect();
            assert_eq!(fits(pattern, &key), expected, "{pattern} {key:?}");
        }
    }
}
