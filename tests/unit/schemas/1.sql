-- A state of schema 1, as its controller left it (sqlite3 .dump). Never edited: databases out there look like this.
BEGIN TRANSACTION;
CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        time REAL NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, target TEXT NOT NULL, detail TEXT NOT NULL);
INSERT INTO "audit" VALUES(1,1767225600.0,'ann','policy from file','policy','{"count": 1}');
INSERT INTO "audit" VALUES(2,1767225600.0,'ann','policy from rest','policy','{"count": 1}');
CREATE TABLE policy_revision (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        etag TEXT NOT NULL, document TEXT NOT NULL, origin TEXT NOT NULL,
        actor TEXT NOT NULL, time REAL NOT NULL, comment TEXT NOT NULL);
INSERT INTO "policy_revision" VALUES(1,'9685df3b17966da63807','{"version": 1, "pools": {"web": {"members": [{"name": "web-1", "address": "10.0.0.11", "port": 8080, "weight": 50, "admin_state": "active"}], "max_ejection_percent": 50, "panic_threshold_percent": 50, "redispatch": true, "health_check": null, "on_down": "keep", "drain_timeout_s": 300.0, "slow_start_s": 10.0, "ejection_time_s": 30.0}}, "vips": {"web": {"address": "10.0.0.100", "port": 80, "pool": "web", "affinity_timeout_s": 0}}, "firewall": {"default": "allow", "cut_established": true, "rules": []}, "links": {"default_capacity_bps": 1000000000, "capacities": []}, "automation": {"mode": "enforce", "enforce_percent": 100}, "probe_address": null}','file','ann',1767225600.0,'why');
INSERT INTO "policy_revision" VALUES(2,'e02f289eb4e05355a46d','{"version": 1, "pools": {"web": {"members": [{"name": "web-1", "address": "10.0.0.11", "port": 8080, "weight": 60, "admin_state": "active"}], "max_ejection_percent": 50, "panic_threshold_percent": 50, "redispatch": true, "health_check": null, "on_down": "keep", "drain_timeout_s": 300.0, "slow_start_s": 10.0, "ejection_time_s": 30.0}}, "vips": {"web": {"address": "10.0.0.100", "port": 80, "pool": "web", "affinity_timeout_s": 0}}, "firewall": {"default": "allow", "cut_established": true, "rules": []}, "links": {"default_capacity_bps": 1000000000, "capacities": []}, "automation": {"mode": "enforce", "enforce_percent": 100}, "probe_address": null}','rest','ann',1767225600.0,'why');
CREATE TABLE runtime (
        namespace TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (namespace, key)) WITHOUT ROWID;
INSERT INTO "runtime" VALUES('ejections','web/web-1','{"until":1767225630.0,"number":1}');
INSERT INTO "runtime" VALUES('hosts','0a00000b','[2199023255553,17,3]');
INSERT INTO "runtime" VALUES('secrets','lldp','"0000000000000000000000000000000000000000000000000000000000000000"');
CREATE TABLE setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "setting" VALUES('policy-file-hash','hash-of-file');
CREATE TABLE token (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL, role TEXT NOT NULL, digest TEXT NOT NULL UNIQUE, created REAL NOT NULL) WITHOUT ROWID;
INSERT INTO "token" VALUES('02cf94f9','ops','admin','48508669006e65b4d1fb5f9533a13c4d732b1d2931ac0c2391453a4c44f87ad6',1767225600.0);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('policy_revision',2);
INSERT INTO "sqlite_sequence" VALUES('audit',2);
COMMIT;
PRAGMA user_version = 1;
