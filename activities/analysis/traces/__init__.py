"""What spans say: where self time rises, on which call time is lost, where errors originate, which calls vanish."""
