BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE checkpoints (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	task_id INTEGER NOT NULL, 
	sequence INTEGER NOT NULL, 
	"trigger" TEXT NOT NULL, 
	execution_phase TEXT, 
	execution_step TEXT, 
	agent_context TEXT, 
	draft_content TEXT, 
	draft_type TEXT, 
	pause_metadata TEXT, 
	snapshot TEXT NOT NULL, 
	created_at TEXT NOT NULL, 
	expires_at TEXT NOT NULL, 
	UNIQUE (task_id, sequence), 
	FOREIGN KEY(task_id) REFERENCES tasks (id)
);
INSERT INTO "checkpoints" VALUES(1,1,1,'manual',NULL,NULL,'{"open":["x"]}','class Task: ...',NULL,NULL,'{"title":"Schema","status":"in_progress","blockedReason":null,"assignedAgent":null,"streamId":"Stream-A","description":"what\nand ''why''","notes":"begun","metadata":{"ticket":7,"tags":["a",null]},"subtasks":{"TASK-2":"pending"}}','2026-01-08T12:08:00.000Z','2026-01-15T12:08:00.000Z');
INSERT INTO "checkpoints" VALUES(2,3,1,'error','layout','3',NULL,NULL,NULL,NULL,'{"title":"Cart page","status":"in_progress","blockedReason":null,"assignedAgent":"cleo","streamId":"Stream-B","description":null,"notes":null,"metadata":{},"subtasks":{}}','2026-01-08T12:11:00.000Z','2026-01-09T12:11:00.000Z');
CREATE TABLE events (
	seq INTEGER NOT NULL, 
	topic TEXT NOT NULL, 
	event_type TEXT NOT NULL, 
	timestamp TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	PRIMARY KEY (seq)
);
INSERT INTO "events" VALUES(1,'task:TASK-1','task.created','2026-01-08T12:02:00.000Z','{"topic":"task:TASK-1","eventType":"task.created","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:02:00.000Z","data":{"workspace":"shop","taskId":"TASK-1","taskTitle":"Schema","parentId":null,"streamId":"Stream-A","assignedAgent":null,"oldStatus":null,"newStatus":"pending","blockedReason":null,"createdAt":"2026-01-08T12:02:00.000Z"}}');
INSERT INTO "events" VALUES(2,'stream:Stream-A','stream.progress','2026-01-08T12:02:00.000Z','{"topic":"stream:Stream-A","eventType":"stream.progress","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:02:00.000Z","data":{"workspace":"shop","streamId":"Stream-A","streamName":"Grundlage 🎈","totalTasks":1,"completedTasks":0,"inProgressTasks":0,"blockedTasks":0,"pendingTasks":1,"progressPercentage":0.0,"lastUpdated":"2026-01-08T12:02:00.000Z","status":"pending","streamPhase":"foundation","dependencies":[]}}');
INSERT INTO "events" VALUES(3,'task:TASK-2','task.created','2026-01-08T12:03:00.000Z','{"topic":"task:TASK-2","eventType":"task.created","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:03:00.000Z","data":{"workspace":"shop","taskId":"TASK-2","taskTitle":"Subtask of it","parentId":"TASK-1","streamId":null,"assignedAgent":"ada","oldStatus":null,"newStatus":"pending","blockedReason":null,"createdAt":"2026-01-08T12:03:00.000Z"}}');
INSERT INTO "events" VALUES(4,'task:TASK-3','task.created','2026-01-08T12:04:00.000Z','{"topic":"task:TASK-3","eventType":"task.created","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:04:00.000Z","data":{"workspace":"shop","taskId":"TASK-3","taskTitle":"Cart page","parentId":null,"streamId":"Stream-B","assignedAgent":"cleo","oldStatus":null,"newStatus":"pending","blockedReason":null,"createdAt":"2026-01-08T12:04:00.000Z"}}');
INSERT INTO "events" VALUES(5,'stream:Stream-B','stream.progress','2026-01-08T12:04:00.000Z','{"topic":"stream:Stream-B","eventType":"stream.progress","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:04:00.000Z","data":{"workspace":"shop","streamId":"Stream-B","streamName":"pages","totalTasks":1,"completedTasks":0,"inProgressTasks":0,"blockedTasks":0,"pendingTasks":1,"progressPercentage":0.0,"lastUpdated":"2026-01-08T12:04:00.000Z","status":"pending","streamPhase":"parallel","dependencies":["Stream-A"]}}');
INSERT INTO "events" VALUES(6,'task:TASK-4','task.created','2026-01-08T12:05:00.000Z','{"topic":"task:TASK-4","eventType":"task.created","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:05:00.000Z","data":{"workspace":"shop","taskId":"TASK-4","taskTitle":"The \"checkout\" page","parentId":null,"streamId":"Stream-B","assignedAgent":null,"oldStatus":null,"newStatus":"pending","blockedReason":null,"createdAt":"2026-01-08T12:05:00.000Z"}}');
INSERT INTO "events" VALUES(7,'stream:Stream-B','stream.progress','2026-01-08T12:05:00.000Z','{"topic":"stream:Stream-B","eventType":"stream.progress","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:05:00.000Z","data":{"workspace":"shop","streamId":"Stream-B","streamName":"pages","totalTasks":2,"completedTasks":0,"inProgressTasks":0,"blockedTasks":0,"pendingTasks":2,"progressPercentage":0.0,"lastUpdated":"2026-01-08T12:05:00.000Z","status":"pending","streamPhase":"parallel","dependencies":["Stream-A"]}}');
INSERT INTO "events" VALUES(8,'task:TASK-5','task.created','2026-01-08T12:06:00.000Z','{"topic":"task:TASK-5","eventType":"task.created","workspace":"blog","actor":"tester","timestamp":"2026-01-08T12:06:00.000Z","data":{"workspace":"blog","taskId":"TASK-5","taskTitle":"A post","parentId":null,"streamId":"Stream-A","assignedAgent":null,"oldStatus":null,"newStatus":"pending","blockedReason":null,"createdAt":"2026-01-08T12:06:00.000Z"}}');
INSERT INTO "events" VALUES(9,'stream:Stream-A','stream.progress','2026-01-08T12:06:00.000Z','{"topic":"stream:Stream-A","eventType":"stream.progress","workspace":"blog","actor":"tester","timestamp":"2026-01-08T12:06:00.000Z","data":{"workspace":"blog","streamId":"Stream-A","streamName":"Stream-A","totalTasks":1,"completedTasks":0,"inProgressTasks":0,"blockedTasks":0,"pendingTasks":1,"progressPercentage":0.0,"lastUpdated":"2026-01-08T12:06:00.000Z","status":"pending","streamPhase":"parallel","dependencies":[]}}');
INSERT INTO "events" VALUES(10,'task:TASK-1','task.updated','2026-01-08T12:07:00.000Z','{"topic":"task:TASK-1","eventType":"task.updated","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:07:00.000Z","data":{"workspace":"shop","taskId":"TASK-1","taskTitle":"Schema","parentId":null,"streamId":"Stream-A","assignedAgent":null,"oldStatus":"pending","newStatus":"in_progress","blockedReason":null,"status":"in_progress","changes":[{"field":"status","oldValue":"pending","newValue":"in_progress"},{"field":"notes","oldValue":null,"newValue":"begun"}],"updatedAt":"2026-01-08T12:07:00.000Z"}}');
INSERT INTO "events" VALUES(11,'task:TASK-1','task.status_changed','2026-01-08T12:07:00.000Z','{"topic":"task:TASK-1","eventType":"task.status_changed","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:07:00.000Z","data":{"workspace":"shop","taskId":"TASK-1","taskTitle":"Schema","parentId":null,"streamId":"Stream-A","assignedAgent":null,"oldStatus":"pending","newStatus":"in_progress","blockedReason":null,"statusChangedAt":"2026-01-08T12:07:00.000Z"}}');
INSERT INTO "events" VALUES(12,'stream:Stream-A','stream.progress','2026-01-08T12:07:00.000Z','{"topic":"stream:Stream-A","eventType":"stream.progress","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:07:00.000Z","data":{"workspace":"shop","streamId":"Stream-A","streamName":"Grundlage 🎈","totalTasks":1,"completedTasks":0,"inProgressTasks":1,"blockedTasks":0,"pendingTasks":0,"progressPercentage":0.0,"lastUpdated":"2026-01-08T12:07:00.000Z","status":"in_progress","streamPhase":"foundation","dependencies":[]}}');
INSERT INTO "events" VALUES(13,'stream:Stream-A','stream.started','2026-01-08T12:07:00.000Z','{"topic":"stream:Stream-A","eventType":"stream.started","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:07:00.000Z","data":{"workspace":"shop","streamId":"Stream-A","streamName":"Grundlage 🎈","totalTasks":1,"completedTasks":0,"inProgressTasks":1,"blockedTasks":0,"pendingTasks":0,"progressPercentage":0.0,"lastUpdated":"2026-01-08T12:07:00.000Z","status":"in_progress","streamPhase":"foundation","dependencies":[],"startedAt":"2026-01-08T12:07:00.000Z"}}');
INSERT INTO "events" VALUES(14,'checkpoint:TASK-1','checkpoint.created','2026-01-08T12:08:00.000Z','{"topic":"checkpoint:TASK-1","eventType":"checkpoint.created","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:08:00.000Z","data":{"workspace":"shop","checkpointId":"CP-1","taskId":"TASK-1","taskTitle":"Schema","streamId":"Stream-A","sequence":1,"trigger":"manual","executionPhase":null,"executionStep":null,"hasDraft":true,"expiresAt":"2026-01-15T12:08:00.000Z","createdAt":"2026-01-08T12:08:00.000Z"}}');
INSERT INTO "events" VALUES(15,'task:TASK-1','task.updated','2026-01-08T12:09:00.000Z','{"topic":"task:TASK-1","eventType":"task.updated","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:09:00.000Z","data":{"workspace":"shop","taskId":"TASK-1","taskTitle":"Schema","parentId":null,"streamId":"Stream-A","assignedAgent":null,"oldStatus":"in_progress","newStatus":"completed","blockedReason":null,"status":"completed","changes":[{"field":"status","oldValue":"in_progress","newValue":"completed"}],"updatedAt":"2026-01-08T12:09:00.000Z"}}');
INSERT INTO "events" VALUES(16,'task:TASK-1','task.status_changed','2026-01-08T12:09:00.000Z','{"topic":"task:TASK-1","eventType":"task.status_changed","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:09:00.000Z","data":{"workspace":"shop","taskId":"TASK-1","taskTitle":"Schema","parentId":null,"streamId":"Stream-A","assignedAgent":null,"oldStatus":"in_progress","newStatus":"completed","blockedReason":null,"statusChangedAt":"2026-01-08T12:09:00.000Z"}}');
INSERT INTO "events" VALUES(17,'task:TASK-1','task.completed','2026-01-08T12:09:00.000Z','{"topic":"task:TASK-1","eventType":"task.completed","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:09:00.000Z","data":{"workspace":"shop","taskId":"TASK-1","taskTitle":"Schema","parentId":null,"streamId":"Stream-A","assignedAgent":null,"oldStatus":"in_progress","newStatus":"completed","blockedReason":null,"completedAt":"2026-01-08T12:09:00.000Z","duration":120000}}');
INSERT INTO "events" VALUES(18,'stream:Stream-A','stream.progress','2026-01-08T12:09:00.000Z','{"topic":"stream:Stream-A","eventType":"stream.progress","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:09:00.000Z","data":{"workspace":"shop","streamId":"Stream-A","streamName":"Grundlage 🎈","totalTasks":1,"completedTasks":1,"inProgressTasks":0,"blockedTasks":0,"pendingTasks":0,"progressPercentage":100.0,"lastUpdated":"2026-01-08T12:09:00.000Z","status":"completed","streamPhase":"foundation","dependencies":[]}}');
INSERT INTO "events" VALUES(19,'stream:Stream-A','stream.completed','2026-01-08T12:09:00.000Z','{"topic":"stream:Stream-A","eventType":"stream.completed","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:09:00.000Z","data":{"workspace":"shop","streamId":"Stream-A","streamName":"Grundlage 🎈","totalTasks":1,"completedTasks":1,"inProgressTasks":0,"blockedTasks":0,"pendingTasks":0,"progressPercentage":100.0,"lastUpdated":"2026-01-08T12:09:00.000Z","status":"completed","streamPhase":"foundation","dependencies":[],"completedAt":"2026-01-08T12:09:00.000Z","duration":120000}}');
INSERT INTO "events" VALUES(20,'task:TASK-3','task.updated','2026-01-08T12:10:00.000Z','{"topic":"task:TASK-3","eventType":"task.updated","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:10:00.000Z","data":{"workspace":"shop","taskId":"TASK-3","taskTitle":"Cart page","parentId":null,"streamId":"Stream-B","assignedAgent":"cleo","oldStatus":"pending","newStatus":"in_progress","blockedReason":null,"status":"in_progress","changes":[{"field":"status","oldValue":"pending","newValue":"in_progress"}],"updatedAt":"2026-01-08T12:10:00.000Z"}}');
INSERT INTO "events" VALUES(21,'task:TASK-3','task.status_changed','2026-01-08T12:10:00.000Z','{"topic":"task:TASK-3","eventType":"task.status_changed","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:10:00.000Z","data":{"workspace":"shop","taskId":"TASK-3","taskTitle":"Cart page","parentId":null,"streamId":"Stream-B","assignedAgent":"cleo","oldStatus":"pending","newStatus":"in_progress","blockedReason":null,"statusChangedAt":"2026-01-08T12:10:00.000Z"}}');
INSERT INTO "events" VALUES(22,'stream:Stream-B','stream.progress','2026-01-08T12:10:00.000Z','{"topic":"stream:Stream-B","eventType":"stream.progress","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:10:00.000Z","data":{"workspace":"shop","streamId":"Stream-B","streamName":"pages","totalTasks":2,"completedTasks":0,"inProgressTasks":1,"blockedTasks":0,"pendingTasks":1,"progressPercentage":0.0,"lastUpdated":"2026-01-08T12:10:00.000Z","status":"in_progress","streamPhase":"parallel","dependencies":["Stream-A"]}}');
INSERT INTO "events" VALUES(23,'stream:Stream-B','stream.started','2026-01-08T12:10:00.000Z','{"topic":"stream:Stream-B","eventType":"stream.started","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:10:00.000Z","data":{"workspace":"shop","streamId":"Stream-B","streamName":"pages","totalTasks":2,"completedTasks":0,"inProgressTasks":1,"blockedTasks":0,"pendingTasks":1,"progressPercentage":0.0,"lastUpdated":"2026-01-08T12:10:00.000Z","status":"in_progress","streamPhase":"parallel","dependencies":["Stream-A"],"startedAt":"2026-01-08T12:10:00.000Z"}}');
INSERT INTO "events" VALUES(24,'checkpoint:TASK-3','checkpoint.created','2026-01-08T12:11:00.000Z','{"topic":"checkpoint:TASK-3","eventType":"checkpoint.created","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:11:00.000Z","data":{"workspace":"shop","checkpointId":"CP-2","taskId":"TASK-3","taskTitle":"Cart page","streamId":"Stream-B","sequence":1,"trigger":"error","executionPhase":"layout","executionStep":3,"hasDraft":false,"expiresAt":"2026-01-09T12:11:00.000Z","createdAt":"2026-01-08T12:11:00.000Z"}}');
INSERT INTO "events" VALUES(25,'task:TASK-3','task.updated','2026-01-08T12:12:00.000Z','{"topic":"task:TASK-3","eventType":"task.updated","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:12:00.000Z","data":{"workspace":"shop","taskId":"TASK-3","taskTitle":"Cart page","parentId":null,"streamId":"Stream-B","assignedAgent":"cleo","oldStatus":"in_progress","newStatus":"blocked","blockedReason":"needs the prices","status":"blocked","changes":[{"field":"status","oldValue":"in_progress","newValue":"blocked"},{"field":"blockedReason","oldValue":null,"newValue":"needs the prices"}],"updatedAt":"2026-01-08T12:12:00.000Z"}}');
INSERT INTO "events" VALUES(26,'task:TASK-3','task.status_changed','2026-01-08T12:12:00.000Z','{"topic":"task:TASK-3","eventType":"task.status_changed","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:12:00.000Z","data":{"workspace":"shop","taskId":"TASK-3","taskTitle":"Cart page","parentId":null,"streamId":"Stream-B","assignedAgent":"cleo","oldStatus":"in_progress","newStatus":"blocked","blockedReason":"needs the prices","statusChangedAt":"2026-01-08T12:12:00.000Z"}}');
INSERT INTO "events" VALUES(27,'task:TASK-3','task.blocked','2026-01-08T12:12:00.000Z','{"topic":"task:TASK-3","eventType":"task.blocked","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:12:00.000Z","data":{"workspace":"shop","taskId":"TASK-3","taskTitle":"Cart page","parentId":null,"streamId":"Stream-B","assignedAgent":"cleo","oldStatus":"in_progress","newStatus":"blocked","blockedReason":"needs the prices","blockedAt":"2026-01-08T12:12:00.000Z"}}');
INSERT INTO "events" VALUES(28,'stream:Stream-B','stream.progress','2026-01-08T12:12:00.000Z','{"topic":"stream:Stream-B","eventType":"stream.progress","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:12:00.000Z","data":{"workspace":"shop","streamId":"Stream-B","streamName":"pages","totalTasks":2,"completedTasks":0,"inProgressTasks":0,"blockedTasks":1,"pendingTasks":1,"progressPercentage":0.0,"lastUpdated":"2026-01-08T12:12:00.000Z","status":"blocked","streamPhase":"parallel","dependencies":["Stream-A"]}}');
INSERT INTO "events" VALUES(29,'stream:Stream-B','stream.blocked','2026-01-08T12:12:00.000Z','{"topic":"stream:Stream-B","eventType":"stream.blocked","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:12:00.000Z","data":{"workspace":"shop","streamId":"Stream-B","streamName":"pages","totalTasks":2,"completedTasks":0,"inProgressTasks":0,"blockedTasks":1,"pendingTasks":1,"progressPercentage":0.0,"lastUpdated":"2026-01-08T12:12:00.000Z","status":"blocked","streamPhase":"parallel","dependencies":["Stream-A"],"blockedReason":"needs the prices","blockedTaskIds":["TASK-3"]}}');
INSERT INTO "events" VALUES(30,'task:TASK-4','task.updated','2026-01-08T12:13:00.000Z','{"topic":"task:TASK-4","eventType":"task.updated","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:13:00.000Z","data":{"workspace":"shop","taskId":"TASK-4","taskTitle":"The \"checkout\" page","parentId":null,"streamId":"Stream-B","assignedAgent":null,"oldStatus":"pending","newStatus":"cancelled","blockedReason":null,"status":"cancelled","changes":[{"field":"status","oldValue":"pending","newValue":"cancelled"}],"updatedAt":"2026-01-08T12:13:00.000Z"}}');
INSERT INTO "events" VALUES(31,'task:TASK-4','task.status_changed','2026-01-08T12:13:00.000Z','{"topic":"task:TASK-4","eventType":"task.status_changed","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:13:00.000Z","data":{"workspace":"shop","taskId":"TASK-4","taskTitle":"The \"checkout\" page","parentId":null,"streamId":"Stream-B","assignedAgent":null,"oldStatus":"pending","newStatus":"cancelled","blockedReason":null,"statusChangedAt":"2026-01-08T12:13:00.000Z"}}');
INSERT INTO "events" VALUES(32,'stream:Stream-B','stream.progress','2026-01-08T12:13:00.000Z','{"topic":"stream:Stream-B","eventType":"stream.progress","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:13:00.000Z","data":{"workspace":"shop","streamId":"Stream-B","streamName":"pages","totalTasks":1,"completedTasks":0,"inProgressTasks":0,"blockedTasks":1,"pendingTasks":0,"progressPercentage":0.0,"lastUpdated":"2026-01-08T12:13:00.000Z","status":"blocked","streamPhase":"parallel","dependencies":["Stream-A"]}}');
INSERT INTO "events" VALUES(33,'checkpoint:TASK-1','checkpoint.resumed','2026-01-08T12:14:00.000Z','{"topic":"checkpoint:TASK-1","eventType":"checkpoint.resumed","workspace":"shop","actor":"tester","timestamp":"2026-01-08T12:14:00.000Z","data":{"workspace":"shop","checkpointId":"CP-1","taskId":"TASK-1","taskTitle":"Schema","streamId":"Stream-A","sequence":1,"resumedAt":"2026-01-08T12:14:00.000Z"}}');
CREATE TABLE log (
	id INTEGER NOT NULL, 
	epoch TEXT NOT NULL, 
	head INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT log_is_one_row CHECK (id = 1)
);
INSERT INTO "log" VALUES(1,'7f5809b6fb128991',33);
CREATE TABLE streams (
	workspace_id INTEGER NOT NULL, 
	stream_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	phase TEXT NOT NULL, 
	dependencies TEXT NOT NULL, 
	pending INTEGER NOT NULL, 
	in_progress INTEGER NOT NULL, 
	blocked INTEGER NOT NULL, 
	completed INTEGER NOT NULL, 
	started_at TEXT, 
	completed_at TEXT, 
	created_at TEXT NOT NULL, 
	updated_at TEXT NOT NULL, 
	PRIMARY KEY (workspace_id, stream_id), 
	CONSTRAINT stream_counts_are_not_negative CHECK (pending >= 0 AND in_progress >= 0 AND blocked >= 0 AND completed >= 0), 
	FOREIGN KEY(workspace_id) REFERENCES workspaces (id)
);
INSERT INTO "streams" VALUES(1,'Stream-A','Grundlage 🎈','foundation','[]',0,0,0,1,'2026-01-08T12:07:00.000Z','2026-01-08T12:09:00.000Z','2026-01-08T12:02:00.000Z','2026-01-08T12:09:00.000Z');
INSERT INTO "streams" VALUES(1,'Stream-B','pages','parallel','["Stream-A"]',0,0,1,0,'2026-01-08T12:10:00.000Z',NULL,'2026-01-08T12:04:00.000Z','2026-01-08T12:13:00.000Z');
INSERT INTO "streams" VALUES(2,'Stream-A','Stream-A','parallel','[]',1,0,0,0,NULL,NULL,'2026-01-08T12:06:00.000Z','2026-01-08T12:06:00.000Z');
CREATE TABLE tasks (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	workspace_id INTEGER NOT NULL, 
	stream_id TEXT, 
	parent_id INTEGER, 
	title TEXT NOT NULL, 
	description TEXT, 
	status TEXT NOT NULL, 
	assigned_agent TEXT, 
	notes TEXT, 
	blocked_reason TEXT, 
	files TEXT NOT NULL, 
	metadata TEXT NOT NULL, 
	checkpoints_made INTEGER NOT NULL, 
	created_at TEXT NOT NULL, 
	updated_at TEXT NOT NULL, 
	started_at TEXT, 
	blocked_at TEXT, 
	completed_at TEXT, 
	FOREIGN KEY(workspace_id, stream_id) REFERENCES streams (workspace_id, stream_id), 
	FOREIGN KEY(workspace_id) REFERENCES workspaces (id), 
	FOREIGN KEY(parent_id) REFERENCES tasks (id)
);
INSERT INTO "tasks" VALUES(1,1,'Stream-A',NULL,'Schema','what
and ''why''','completed',NULL,'begun',NULL,'["a.py","b.py"]','{"ticket":7,"tags":["a",null]}',1,'2026-01-08T12:02:00.000Z','2026-01-08T12:09:00.000Z','2026-01-08T12:07:00.000Z',NULL,'2026-01-08T12:09:00.000Z');
INSERT INTO "tasks" VALUES(2,1,NULL,1,'Subtask of it',NULL,'pending','ada',NULL,NULL,'[]','{}',0,'2026-01-08T12:03:00.000Z','2026-01-08T12:03:00.000Z',NULL,NULL,NULL);
INSERT INTO "tasks" VALUES(3,1,'Stream-B',NULL,'Cart page',NULL,'blocked','cleo',NULL,'needs the prices','[]','{}',1,'2026-01-08T12:04:00.000Z','2026-01-08T12:12:00.000Z','2026-01-08T12:10:00.000Z','2026-01-08T12:12:00.000Z',NULL);
INSERT INTO "tasks" VALUES(4,1,'Stream-B',NULL,'The "checkout" page',NULL,'cancelled',NULL,NULL,NULL,'[]','{}',0,'2026-01-08T12:05:00.000Z','2026-01-08T12:13:00.000Z',NULL,NULL,NULL);
INSERT INTO "tasks" VALUES(5,2,'Stream-A',NULL,'A post',NULL,'pending',NULL,NULL,NULL,'[]','{}',0,'2026-01-08T12:06:00.000Z','2026-01-08T12:06:00.000Z',NULL,NULL,NULL);
CREATE TABLE workspaces (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	path TEXT, 
	created_at TEXT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name), 
	UNIQUE (path)
);
INSERT INTO "workspaces" VALUES(1,'shop','/work/shop','2026-01-08T12:00:00.000Z');
INSERT INTO "workspaces" VALUES(2,'blog','/work/blog','2026-01-08T12:01:00.000Z');
CREATE INDEX tasks_by_workspace ON tasks (workspace_id, id);
CREATE INDEX tasks_by_stream ON tasks (workspace_id, stream_id, id);
CREATE INDEX tasks_by_parent ON tasks (parent_id);
CREATE INDEX tasks_blocked ON tasks (workspace_id, stream_id, blocked_at) WHERE status = 'blocked';
CREATE INDEX checkpoints_by_expiry ON checkpoints (expires_at);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('tasks',5);
INSERT INTO "sqlite_sequence" VALUES('checkpoints',2);
COMMIT;
PRAGMA user_version=1;
PRAGMA application_id=1952539503;
