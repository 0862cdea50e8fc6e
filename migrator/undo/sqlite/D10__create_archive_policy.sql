DROP TABLE deployment;
DROP TABLE archive_file;
DROP TABLE archive_run;
DROP TABLE archive_policy;
