// sgld
