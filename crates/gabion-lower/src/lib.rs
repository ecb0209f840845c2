//! Lowering: passes over the graph, the ledger, and the selection of a plan.
