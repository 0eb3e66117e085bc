BEGIN TRANSACTION;
CREATE TABLE account (
	pk INTEGER NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	account_pk INTEGER NOT NULL, 
	alive BOOLEAN, 
	version BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	created_by VARCHAR(64), 
	updated_by VARCHAR(64), 
	name VARCHAR(64) NOT NULL, 
	title VARCHAR(200) NOT NULL, 
	PRIMARY KEY (pk), 
	UNIQUE (id)
);
INSERT INTO "account" VALUES(1,'dNr7nvb8d6w',1,1,1,1795282102104,1795282102104,NULL,NULL,NULL,'main','Main');
CREATE TABLE account_state (
	account_pk INTEGER NOT NULL, 
	account VARCHAR(64) NOT NULL, 
	epoch VARCHAR(32) NOT NULL, 
	seq BIGINT NOT NULL, 
	PRIMARY KEY (account_pk), 
	UNIQUE (account)
);
INSERT INTO "account_state" VALUES(1,'system','xUH7H3rN',4);
INSERT INTO "account_state" VALUES(2,'dNr7nvb8d6w','xUH7H3rN',12);
CREATE TABLE api_key (
	pk INTEGER NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	account_pk INTEGER NOT NULL, 
	alive BOOLEAN, 
	version BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	created_by VARCHAR(64), 
	updated_by VARCHAR(64), 
	name VARCHAR(200) NOT NULL, 
	role VARCHAR(7) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	expires_at BIGINT, 
	PRIMARY KEY (pk), 
	UNIQUE (id)
);
INSERT INTO "api_key" VALUES(1,'qpGWoNFWtJQ',2,1,1,1795282102525,1795282102525,NULL,NULL,NULL,'sign','viewer','d847ee7c79d69fed1b6238d47999efca9d97f4c7bb253a17da7d5ae2cdbcb89c',NULL);
CREATE TABLE change (
	account_pk INTEGER NOT NULL, 
	seq BIGINT NOT NULL, 
	part INTEGER NOT NULL, 
	type VARCHAR(48) NOT NULL, 
	rec VARCHAR(64) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	version BIGINT NOT NULL, 
	"after" TEXT NOT NULL, 
	"before" TEXT, 
	actor VARCHAR(64), 
	session VARCHAR(64), 
	request TEXT, 
	at BIGINT NOT NULL, 
	PRIMARY KEY (account_pk, seq, part)
)
 WITHOUT ROWID;
INSERT INTO "change" VALUES(1,1,0,'account','dNr7nvb8d6w','create',1,'{"id":"dNr7nvb8d6w","type":"account","version":1,"account_id":"system","created_at":"2026-11-21T17:28:22.104Z","updated_at":"2026-11-21T17:28:22.104Z","created_by":null,"updated_by":null,"deleted_at":null,"name":"main","title":"Main"}',NULL,NULL,NULL,NULL,1795282102104);
INSERT INTO "change" VALUES(1,2,0,'user','qVhpNjMfBt4','create',1,'{"id":"qVhpNjMfBt4","type":"user","version":1,"account_id":"system","created_at":"2026-11-21T17:28:22.107Z","updated_at":"2026-11-21T17:28:22.107Z","created_by":null,"updated_by":null,"deleted_at":null,"name":"Owner","email":null,"disabled":false}',NULL,NULL,NULL,NULL,1795282102107);
INSERT INTO "change" VALUES(1,3,0,'session','q3Yz0QxXLJQ','create',1,'{"id":"q3Yz0QxXLJQ","type":"session","version":1,"account_id":"system","created_at":"2026-11-21T17:28:22.121Z","updated_at":"2026-11-21T17:28:22.121Z","created_by":null,"updated_by":null,"deleted_at":null,"user_id":"qVhpNjMfBt4","kind":"link","expires_at":"2026-11-21T17:43:22.121Z"}',NULL,NULL,NULL,NULL,1795282102121);
INSERT INTO "change" VALUES(1,4,0,'user','aOLLt-swXyg','create',1,'{"id":"aOLLt-swXyg","type":"user","version":1,"account_id":"system","created_at":"2026-11-21T17:28:22.532Z","updated_at":"2026-11-21T17:28:22.532Z","created_by":null,"updated_by":null,"deleted_at":null,"name":"Grace","email":null,"disabled":false}',NULL,NULL,NULL,NULL,1795282102532);
INSERT INTO "change" VALUES(2,1,0,'membership','6AVAh5fW4JE','create',1,'{"id":"6AVAh5fW4JE","type":"membership","version":1,"account_id":"dNr7nvb8d6w","created_at":"2026-11-21T17:28:22.111Z","updated_at":"2026-11-21T17:28:22.111Z","created_by":null,"updated_by":null,"deleted_at":null,"user_id":"qVhpNjMfBt4","role":"owner","name":"Owner","email":null}',NULL,NULL,NULL,NULL,1795282102111);
INSERT INTO "change" VALUES(2,2,0,'event','dBhkuz_HMF4','create',1,'{"id":"dBhkuz_HMF4","type":"event","version":1,"account_id":"dNr7nvb8d6w","created_at":"2026-11-21T17:28:22.456Z","updated_at":"2026-11-21T17:28:22.456Z","created_by":null,"updated_by":null,"deleted_at":null,"title":"Größe Ω","acronym":"abc","starts_on":"2026-01-02","ends_on":null,"timezone":"Europe/Berlin"}',NULL,NULL,'bdSejdyCkcM','1',1795282102456);
INSERT INTO "change" VALUES(2,3,0,'event_location','w58BzpjXE4w','create',1,'{"id":"w58BzpjXE4w","type":"event_location","version":1,"account_id":"dNr7nvb8d6w","event_id":"dBhkuz_HMF4","created_at":"2026-11-21T17:28:22.459Z","updated_at":"2026-11-21T17:28:22.459Z","created_by":null,"updated_by":null,"deleted_at":null,"name":"Saal 1","sort":3,"moves":0}',NULL,NULL,'bdSejdyCkcM','3',1795282102459);
INSERT INTO "change" VALUES(2,4,0,'event_location','Nv1deesCWHg','create',1,'{"id":"Nv1deesCWHg","type":"event_location","version":1,"account_id":"dNr7nvb8d6w","event_id":"dBhkuz_HMF4","created_at":"2026-11-21T17:28:22.461Z","updated_at":"2026-11-21T17:28:22.461Z","created_by":null,"updated_by":null,"deleted_at":null,"name":"Saal 2","sort":0,"moves":0}',NULL,NULL,'bdSejdyCkcM','4',1795282102461);
INSERT INTO "change" VALUES(2,5,0,'event_track','PGRomgTLSVQ','create',1,'{"id":"PGRomgTLSVQ","type":"event_track","version":1,"account_id":"dNr7nvb8d6w","event_id":"dBhkuz_HMF4","created_at":"2026-11-21T17:28:22.464Z","updated_at":"2026-11-21T17:28:22.464Z","created_by":null,"updated_by":null,"deleted_at":null,"name":"Ethik","sort":0}',NULL,NULL,'bdSejdyCkcM','5',1795282102464);
INSERT INTO "change" VALUES(2,6,0,'event_person','LCvJvrx5OHo','create',1,'{"id":"LCvJvrx5OHo","type":"event_person","version":1,"account_id":"dNr7nvb8d6w","event_id":"dBhkuz_HMF4","created_at":"2026-11-21T17:28:22.483Z","updated_at":"2026-11-21T17:28:22.483Z","created_by":null,"updated_by":null,"deleted_at":null,"name":"Ada","source_id":"17"}',NULL,NULL,'bdSejdyCkcM','6',1795282102483);
INSERT INTO "change" VALUES(2,7,0,'event_session','FLC5kxLTLlo','create',1,'{"id":"FLC5kxLTLlo","type":"event_session","version":1,"account_id":"dNr7nvb8d6w","event_id":"dBhkuz_HMF4","created_at":"2026-11-21T17:28:22.496Z","updated_at":"2026-11-21T17:28:22.496Z","created_by":null,"updated_by":null,"deleted_at":null,"title":"It''s on","subtitle":"","abstract":"","description":"","language":"","kind":"","slug":"","url":"","guid":null,"starts_at":"2026-01-02T10:00:00.000Z","ends_at":"2026-01-02T11:00:00.000Z","tags":["a","ß"],"do_not_record":false,"recording_license":"","location_id":"w58BzpjXE4w","track_id":"PGRomgTLSVQ"}',NULL,NULL,'bdSejdyCkcM','7',1795282102496);
INSERT INTO "change" VALUES(2,8,0,'event_presenter','-rouQ5_qgiY','create',1,'{"id":"-rouQ5_qgiY","type":"event_presenter","version":1,"account_id":"dNr7nvb8d6w","event_id":"dBhkuz_HMF4","created_at":"2026-11-21T17:28:22.498Z","updated_at":"2026-11-21T17:28:22.498Z","created_by":null,"updated_by":null,"deleted_at":null,"session_id":"FLC5kxLTLlo","person_id":"LCvJvrx5OHo","sort":1}',NULL,NULL,'bdSejdyCkcM','8',1795282102498);
INSERT INTO "change" VALUES(2,9,0,'event_session','FLC5kxLTLlo','update',2,'{"id":"FLC5kxLTLlo","type":"event_session","version":2,"account_id":"dNr7nvb8d6w","event_id":"dBhkuz_HMF4","created_at":"2026-11-21T17:28:22.496Z","updated_at":"2026-11-21T17:28:22.508Z","created_by":null,"updated_by":null,"deleted_at":null,"title":"It''s off","subtitle":"","abstract":"x\ny","description":"","language":"","kind":"","slug":"","url":"","guid":null,"starts_at":"2026-01-02T10:00:00.000Z","ends_at":"2026-01-02T11:00:00.000Z","tags":["a","ß"],"do_not_record":false,"recording_license":"","location_id":"w58BzpjXE4w","track_id":"PGRomgTLSVQ"}','{"version":1,"updated_at":"2026-11-21T17:28:22.496Z","updated_by":null,"title":"It''s on","abstract":""}',NULL,'bdSejdyCkcM','9',1795282102508);
INSERT INTO "change" VALUES(2,10,0,'event_location','Nv1deesCWHg','delete',2,'{"id":"Nv1deesCWHg","type":"event_location","version":2,"account_id":"dNr7nvb8d6w","event_id":"dBhkuz_HMF4","created_at":"2026-11-21T17:28:22.461Z","updated_at":"2026-11-21T17:28:22.515Z","created_by":null,"updated_by":null,"deleted_at":"2026-11-21T17:28:22.515Z","name":"Saal 2","sort":0,"moves":0}','{"version":1,"updated_at":"2026-11-21T17:28:22.461Z","updated_by":null,"deleted_at":null}',NULL,'bdSejdyCkcM','10',1795282102515);
INSERT INTO "change" VALUES(2,11,0,'api_key','qpGWoNFWtJQ','create',1,'{"id":"qpGWoNFWtJQ","type":"api_key","version":1,"account_id":"dNr7nvb8d6w","created_at":"2026-11-21T17:28:22.525Z","updated_at":"2026-11-21T17:28:22.525Z","created_by":null,"updated_by":null,"deleted_at":null,"name":"sign","role":"viewer","expires_at":null}',NULL,NULL,'bdSejdyCkcM','11',1795282102525);
INSERT INTO "change" VALUES(2,12,0,'membership','J_V8AIskpvI','create',1,'{"id":"J_V8AIskpvI","type":"membership","version":1,"account_id":"dNr7nvb8d6w","created_at":"2026-11-21T17:28:22.536Z","updated_at":"2026-11-21T17:28:22.536Z","created_by":null,"updated_by":null,"deleted_at":null,"user_id":"aOLLt-swXyg","role":"editor","name":"Grace","email":null}',NULL,NULL,'bdSejdyCkcM','12',1795282102536);
CREATE TABLE event (
	pk INTEGER NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	account_pk INTEGER NOT NULL, 
	alive BOOLEAN, 
	version BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	created_by VARCHAR(64), 
	updated_by VARCHAR(64), 
	title VARCHAR(500) NOT NULL, 
	title_fold TEXT, 
	acronym VARCHAR(100), 
	acronym_fold TEXT, 
	starts_on VARCHAR(10), 
	ends_on VARCHAR(10), 
	timezone VARCHAR(64) NOT NULL, 
	PRIMARY KEY (pk), 
	UNIQUE (id)
);
INSERT INTO "event" VALUES(1,'dBhkuz_HMF4',2,1,1,1795282102456,1795282102456,NULL,NULL,NULL,'Größe Ω','grösse ω','abc','abc','2026-01-02',NULL,'Europe/Berlin');
CREATE TABLE event_file (
	pk INTEGER NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	account_pk INTEGER NOT NULL, 
	alive BOOLEAN, 
	version BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	created_by VARCHAR(64), 
	updated_by VARCHAR(64), 
	event_id INTEGER NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	name_fold TEXT, 
	sha256 VARCHAR(64) NOT NULL, 
	size BIGINT NOT NULL, 
	content_type VARCHAR(200) NOT NULL, 
	PRIMARY KEY (pk), 
	UNIQUE (id), 
	FOREIGN KEY(event_id) REFERENCES event (pk) DEFERRABLE INITIALLY DEFERRED
);
CREATE TABLE event_import (
	pk INTEGER NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	account_pk INTEGER NOT NULL, 
	alive BOOLEAN, 
	version BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	created_by VARCHAR(64), 
	updated_by VARCHAR(64), 
	event_id INTEGER NOT NULL, 
	entity VARCHAR(48) NOT NULL, 
	"key" VARCHAR(400) NOT NULL, 
	rec VARCHAR(64) NOT NULL, 
	"values" TEXT NOT NULL, 
	PRIMARY KEY (pk), 
	UNIQUE (id), 
	FOREIGN KEY(event_id) REFERENCES event (pk) DEFERRABLE INITIALLY DEFERRED
);
CREATE TABLE event_location (
	pk INTEGER NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	account_pk INTEGER NOT NULL, 
	alive BOOLEAN, 
	version BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	created_by VARCHAR(64), 
	updated_by VARCHAR(64), 
	event_id INTEGER NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	name_fold TEXT, 
	sort BIGINT NOT NULL, 
	moves BIGINT NOT NULL, 
	PRIMARY KEY (pk), 
	UNIQUE (id), 
	FOREIGN KEY(event_id) REFERENCES event (pk) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "event_location" VALUES(1,'w58BzpjXE4w',2,1,1,1795282102459,1795282102459,NULL,NULL,NULL,1,'Saal 1','saal 1',3,0);
INSERT INTO "event_location" VALUES(2,'Nv1deesCWHg',2,NULL,2,1795282102461,1795282102515,1795282102515,NULL,NULL,1,'Saal 2','saal 2',0,0);
CREATE TABLE event_person (
	pk INTEGER NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	account_pk INTEGER NOT NULL, 
	alive BOOLEAN, 
	version BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	created_by VARCHAR(64), 
	updated_by VARCHAR(64), 
	event_id INTEGER NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	name_fold TEXT, 
	source_id VARCHAR(200), 
	PRIMARY KEY (pk), 
	UNIQUE (id), 
	FOREIGN KEY(event_id) REFERENCES event (pk) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "event_person" VALUES(1,'LCvJvrx5OHo',2,1,1,1795282102483,1795282102483,NULL,NULL,NULL,1,'Ada','ada','17');
CREATE TABLE event_presenter (
	pk INTEGER NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	account_pk INTEGER NOT NULL, 
	alive BOOLEAN, 
	version BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	created_by VARCHAR(64), 
	updated_by VARCHAR(64), 
	event_id INTEGER NOT NULL, 
	session_id INTEGER NOT NULL, 
	person_id INTEGER NOT NULL, 
	sort BIGINT NOT NULL, 
	PRIMARY KEY (pk), 
	UNIQUE (id), 
	FOREIGN KEY(event_id) REFERENCES event (pk) DEFERRABLE INITIALLY DEFERRED, 
	FOREIGN KEY(session_id) REFERENCES event_session (pk) DEFERRABLE INITIALLY DEFERRED, 
	FOREIGN KEY(person_id) REFERENCES event_person (pk) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "event_presenter" VALUES(1,'-rouQ5_qgiY',2,1,1,1795282102498,1795282102498,NULL,NULL,NULL,1,1,1,1);
CREATE TABLE event_session (
	pk INTEGER NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	account_pk INTEGER NOT NULL, 
	alive BOOLEAN, 
	version BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	created_by VARCHAR(64), 
	updated_by VARCHAR(64), 
	event_id INTEGER NOT NULL, 
	title VARCHAR(500) NOT NULL, 
	title_fold TEXT, 
	subtitle TEXT NOT NULL, 
	subtitle_fold TEXT, 
	abstract TEXT NOT NULL, 
	description TEXT NOT NULL, 
	language VARCHAR(64) NOT NULL, 
	kind VARCHAR(200) NOT NULL, 
	slug VARCHAR(500) NOT NULL, 
	url TEXT NOT NULL, 
	guid VARCHAR(64), 
	starts_at BIGINT, 
	ends_at BIGINT, 
	tags TEXT NOT NULL, 
	do_not_record BOOLEAN NOT NULL, 
	recording_license VARCHAR(500) NOT NULL, 
	location_id INTEGER, 
	track_id INTEGER, 
	PRIMARY KEY (pk), 
	UNIQUE (id), 
	FOREIGN KEY(event_id) REFERENCES event (pk) DEFERRABLE INITIALLY DEFERRED, 
	FOREIGN KEY(location_id) REFERENCES event_location (pk) DEFERRABLE INITIALLY DEFERRED, 
	FOREIGN KEY(track_id) REFERENCES event_track (pk) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "event_session" VALUES(1,'FLC5kxLTLlo',2,1,2,1795282102496,1795282102508,NULL,NULL,NULL,1,'It''s off','it''s off','','','x
y','','','','','',NULL,1767348000000,1767351600000,'["a","ß"]',0,'',1,1);
CREATE TABLE event_track (
	pk INTEGER NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	account_pk INTEGER NOT NULL, 
	alive BOOLEAN, 
	version BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	created_by VARCHAR(64), 
	updated_by VARCHAR(64), 
	event_id INTEGER NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	name_fold TEXT, 
	sort BIGINT NOT NULL, 
	PRIMARY KEY (pk), 
	UNIQUE (id), 
	FOREIGN KEY(event_id) REFERENCES event (pk) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "event_track" VALUES(1,'PGRomgTLSVQ',2,1,1,1795282102464,1795282102464,NULL,NULL,NULL,1,'Ethik','ethik',0);
CREATE TABLE idempotency (
	pk INTEGER NOT NULL, 
	account_pk INTEGER NOT NULL, 
	scope VARCHAR(200) NOT NULL, 
	"key" VARCHAR(64) NOT NULL, 
	digest BLOB NOT NULL, 
	answer TEXT NOT NULL, 
	seq BIGINT NOT NULL, 
	at BIGINT NOT NULL, 
	PRIMARY KEY (pk), 
	UNIQUE (account_pk, scope, "key")
);
INSERT INTO "idempotency" VALUES(1,2,'operator','k-event-94',X'515CD8E6C743B76C7D609559A26FC5606CEC185F8014321E18DA0B8FE80FE2E3','[[{"id":"dBhkuz_HMF4","type":"event","version":1,"account_id":"dNr7nvb8d6w","created_at":"2026-11-21T17:28:22.456Z","updated_at":"2026-11-21T17:28:22.456Z","created_by":null,"updated_by":null,"deleted_at":null,"title":"Größe Ω","acronym":"abc","starts_on":"2026-01-02","ends_on":null,"timezone":"Europe/Berlin"},true]]',2,1795282102456);
INSERT INTO "idempotency" VALUES(2,2,'operator','k-event_location-29',X'E8CC803BACD8C9A6F1CEE248E8DD665F98C1F9E36ABAECA4CDCA3221EB7DAA61','[[{"id":"w58BzpjXE4w","type":"event_location","version":1,"account_id":"dNr7nvb8d6w","event_id":"dBhkuz_HMF4","created_at":"2026-11-21T17:28:22.459Z","updated_at":"2026-11-21T17:28:22.459Z","created_by":null,"updated_by":null,"deleted_at":null,"name":"Saal 1","sort":3,"moves":0},true]]',3,1795282102459);
INSERT INTO "idempotency" VALUES(3,2,'operator','k-event_location-18',X'362D7FA145F33FE30BDB26A1242EA653EC70CF4AAAD8C07A44380E9D1C06FC36','[[{"id":"Nv1deesCWHg","type":"event_location","version":1,"account_id":"dNr7nvb8d6w","event_id":"dBhkuz_HMF4","created_at":"2026-11-21T17:28:22.461Z","updated_at":"2026-11-21T17:28:22.461Z","created_by":null,"updated_by":null,"deleted_at":null,"name":"Saal 2","sort":0,"moves":0},true]]',4,1795282102461);
INSERT INTO "idempotency" VALUES(4,2,'operator','k-event_track-17',X'DEB6257B1A31F19F77A7DF1EF4C336205344975BD73C5B37F925E41A2D455217','[[{"id":"PGRomgTLSVQ","type":"event_track","version":1,"account_id":"dNr7nvb8d6w","event_id":"dBhkuz_HMF4","created_at":"2026-11-21T17:28:22.464Z","updated_at":"2026-11-21T17:28:22.464Z","created_by":null,"updated_by":null,"deleted_at":null,"name":"Ethik","sort":0},true]]',5,1795282102464);
INSERT INTO "idempotency" VALUES(5,2,'operator','k-event_person-34',X'9174C1E5DE82F0783DE613F38F8A00C283485663E011890936EE10D350911CC0','[[{"id":"LCvJvrx5OHo","type":"event_person","version":1,"account_id":"dNr7nvb8d6w","event_id":"dBhkuz_HMF4","created_at":"2026-11-21T17:28:22.483Z","updated_at":"2026-11-21T17:28:22.483Z","created_by":null,"updated_by":null,"deleted_at":null,"name":"Ada","source_id":"17"},true]]',6,1795282102483);
INSERT INTO "idempotency" VALUES(6,2,'operator','k-event_session-169',X'BE03159FA43C8890AF84AF93308959D50D40475396040D097BB4810E1B93BC58','[[{"id":"FLC5kxLTLlo","type":"event_session","version":1,"account_id":"dNr7nvb8d6w","event_id":"dBhkuz_HMF4","created_at":"2026-11-21T17:28:22.496Z","updated_at":"2026-11-21T17:28:22.496Z","created_by":null,"updated_by":null,"deleted_at":null,"title":"It''s on","subtitle":"","abstract":"","description":"","language":"","kind":"","slug":"","url":"","guid":null,"starts_at":"2026-01-02T10:00:00.000Z","ends_at":"2026-01-02T11:00:00.000Z","tags":["a","ß"],"do_not_record":false,"recording_license":"","location_id":"w58BzpjXE4w","track_id":"PGRomgTLSVQ"},true]]',7,1795282102496);
INSERT INTO "idempotency" VALUES(7,2,'operator','k-event_presenter-68',X'637F6833EB6AA9E2758503A689665EC67B9E75A22041DBF3AE286CE3D5F5B658','[[{"id":"-rouQ5_qgiY","type":"event_presenter","version":1,"account_id":"dNr7nvb8d6w","event_id":"dBhkuz_HMF4","created_at":"2026-11-21T17:28:22.498Z","updated_at":"2026-11-21T17:28:22.498Z","created_by":null,"updated_by":null,"deleted_at":null,"session_id":"FLC5kxLTLlo","person_id":"LCvJvrx5OHo","sort":1},true]]',8,1795282102498);
INSERT INTO "idempotency" VALUES(8,2,'operator','fPg3DIRot-2MFRgVnhjA0_',X'F633BEE2EF75E98E3197ED9696FF7F8AB02D4A27DFF2C54C7CBFA3C80FCCD282','[[{"id":"FLC5kxLTLlo","type":"event_session","version":2,"account_id":"dNr7nvb8d6w","event_id":"dBhkuz_HMF4","created_at":"2026-11-21T17:28:22.496Z","updated_at":"2026-11-21T17:28:22.508Z","created_by":null,"updated_by":null,"deleted_at":null,"title":"It''s off","subtitle":"","abstract":"x\ny","description":"","language":"","kind":"","slug":"","url":"","guid":null,"starts_at":"2026-01-02T10:00:00.000Z","ends_at":"2026-01-02T11:00:00.000Z","tags":["a","ß"],"do_not_record":false,"recording_license":"","location_id":"w58BzpjXE4w","track_id":"PGRomgTLSVQ"},false]]',9,1795282102508);
INSERT INTO "idempotency" VALUES(9,2,'operator','OSs9cp9cFT0A_sqVnDPRxa',X'80E9F196FDCE589D005FE4334BEFED8E589F9EE1AA12B06D5BB415BEFC621487','[[{"id":"Nv1deesCWHg","type":"event_location","version":2,"account_id":"dNr7nvb8d6w","event_id":"dBhkuz_HMF4","created_at":"2026-11-21T17:28:22.461Z","updated_at":"2026-11-21T17:28:22.515Z","created_by":null,"updated_by":null,"deleted_at":"2026-11-21T17:28:22.515Z","name":"Saal 2","sort":0,"moves":0},false]]',10,1795282102515);
INSERT INTO "idempotency" VALUES(10,2,'operator','pDBypbV2fgldbtbfJKrDuw',X'0A298A83EDAFBA73E37431725EF25B11200E888591C8B3E286EDE59CEE723CC4','{}',11,1795282102525);
INSERT INTO "idempotency" VALUES(11,2,'operator','oG1E0M7Wlw2nJXbkzyfDI_',X'4E64E59ED9FB104A0102F96DE6119A1F31F6EF901B7461EBB1009E42FB4B0F1D','{"answer":{"id":"aOLLt-swXyg","name":"Grace","role":"editor"}}',12,1795282102536);
CREATE TABLE membership (
	pk INTEGER NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	account_pk INTEGER NOT NULL, 
	alive BOOLEAN, 
	version BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	created_by VARCHAR(64), 
	updated_by VARCHAR(64), 
	user_id INTEGER NOT NULL, 
	role VARCHAR(7) NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	email VARCHAR(254), 
	PRIMARY KEY (pk), 
	UNIQUE (id), 
	FOREIGN KEY(user_id) REFERENCES user (pk) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "membership" VALUES(1,'6AVAh5fW4JE',2,1,1,1795282102111,1795282102111,NULL,NULL,NULL,1,'owner','Owner',NULL);
INSERT INTO "membership" VALUES(2,'J_V8AIskpvI',2,1,1,1795282102536,1795282102536,NULL,NULL,NULL,2,'editor','Grace',NULL);
CREATE TABLE meta (
	name VARCHAR(64) NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "meta" VALUES('format','1');
INSERT INTO "meta" VALUES('schema','70d0a6aea64412a1');
INSERT INTO "meta" VALUES('epoch','xUH7H3rN');
INSERT INTO "meta" VALUES('probe','2');
CREATE TABLE session (
	pk INTEGER NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	account_pk INTEGER NOT NULL, 
	alive BOOLEAN, 
	version BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	created_by VARCHAR(64), 
	updated_by VARCHAR(64), 
	user_id INTEGER NOT NULL, 
	kind VARCHAR(5) NOT NULL, 
	digest VARCHAR(64) NOT NULL, 
	expires_at BIGINT NOT NULL, 
	PRIMARY KEY (pk), 
	UNIQUE (id), 
	FOREIGN KEY(user_id) REFERENCES user (pk) DEFERRABLE INITIALLY DEFERRED
);
INSERT INTO "session" VALUES(1,'q3Yz0QxXLJQ',1,1,1,1795282102121,1795282102121,NULL,NULL,NULL,1,'link','ba5fc1b3eeee559b2dcbf3e788c218d9572a67435a12b302e1d70064eaf2c978',1795283002121);
CREATE TABLE user (
	pk INTEGER NOT NULL, 
	id VARCHAR(64) NOT NULL, 
	account_pk INTEGER NOT NULL, 
	alive BOOLEAN, 
	version BIGINT NOT NULL, 
	created_at BIGINT NOT NULL, 
	updated_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	created_by VARCHAR(64), 
	updated_by VARCHAR(64), 
	name VARCHAR(200) NOT NULL, 
	email VARCHAR(254), 
	disabled BOOLEAN NOT NULL, 
	PRIMARY KEY (pk), 
	UNIQUE (id)
);
INSERT INTO "user" VALUES(1,'qVhpNjMfBt4',1,1,1,1795282102107,1795282102107,NULL,NULL,NULL,'Owner',NULL,0);
INSERT INTO "user" VALUES(2,'aOLLt-swXyg',1,1,1,1795282102532,1795282102532,NULL,NULL,NULL,'Grace',NULL,0);
CREATE INDEX change_of ON change (account_pk, rec, version) WHERE kind != 'create';
CREATE UNIQUE INDEX account_name_once ON account (account_pk, name, alive);
CREATE INDEX api_key_digest ON api_key (digest);
CREATE INDEX api_key_of ON api_key (account_pk);
CREATE UNIQUE INDEX event_acronym_once ON event (account_pk, acronym, alive);
CREATE UNIQUE INDEX event_file_event_id_name_once ON event_file (account_pk, event_id, name, alive);
CREATE INDEX event_file_sha256 ON event_file (account_pk, sha256);
CREATE INDEX event_import_entity_key ON event_import (account_pk, entity, "key");
CREATE UNIQUE INDEX event_import_event_id_entity_key_once ON event_import (account_pk, event_id, entity, "key", alive);
CREATE UNIQUE INDEX event_location_event_id_name_once ON event_location (account_pk, event_id, name, alive);
CREATE UNIQUE INDEX event_person_event_id_source_id_once ON event_person (account_pk, event_id, source_id, alive);
CREATE UNIQUE INDEX event_presenter_event_id_session_id_person_id_once ON event_presenter (account_pk, event_id, session_id, person_id, alive);
CREATE UNIQUE INDEX event_session_event_id_guid_once ON event_session (account_pk, event_id, guid, alive);
CREATE INDEX event_session_event_id_starts_at ON event_session (account_pk, event_id, starts_at);
CREATE INDEX event_session_location_id_ends_at ON event_session (account_pk, location_id, ends_at);
CREATE UNIQUE INDEX event_track_event_id_name_once ON event_track (account_pk, event_id, name, alive);
CREATE UNIQUE INDEX membership_user_id_once ON membership (account_pk, user_id, alive);
CREATE INDEX session_digest ON session (digest);
CREATE INDEX session_of ON session (account_pk);
CREATE INDEX user_of ON user (account_pk);
COMMIT;
