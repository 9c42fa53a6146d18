"""AIsOpsFlow Core: jobs, dispatch, tenants and audit behind an HTTP API and one gRPC stream per Runner."""
