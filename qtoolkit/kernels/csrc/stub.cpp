extern "C" int qk_abi(void) { return 1; }
