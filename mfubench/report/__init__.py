"""What people see: units, tables and sentences. Never imports torch."""
